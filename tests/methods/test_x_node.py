"""Self-explaining nodes: convolutions equal dense ones, and no label leaks into the context."""

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity

from ilk.core.data import Data
from ilk.explain.node_text import describe_nodes
from ilk.maths.neighbour_graph import CONTEXT, N_STATIC, build_graph
from ilk.methods.x_node import XNode
from ilk.training.explaining_nodes import Architecture, NodeNetwork, SelfExplanation, train_nodes
from ilk.training.objective import TrainingStep
from ilk.training.trainer import Batch

NAMES = ("owl", "hawk", "crow")


def draw(n=90, seed=0, hidden=0.5):
    """Rows of three classes about three directions, some without a label."""
    rng = np.random.default_rng(seed)
    means = 2.5 * np.eye(3, 7)
    y = rng.integers(0, 3, n)
    x = (means[y] + 0.8 * rng.standard_normal((n, 7))).astype(np.float32)
    return Data(x, np.where(rng.random(n) < hidden, -1, y), NAMES), y


def make_dense(x, k):
    """The row-normalized adjacency with self-loops, from scikit-learn's similarities."""
    similarity = cosine_similarity(x)
    np.fill_diagonal(similarity, -np.inf)
    adjacency = np.zeros_like(similarity)
    for i, row in enumerate(similarity):
        nearest = np.argsort(-row)[:k]
        adjacency[i, nearest] = np.maximum(row[nearest], 0)
    dense = adjacency + np.eye(len(x))
    return adjacency, dense / dense.sum(1, keepdims=True)


def test_embeddings_of_nodes_are_those_of_a_dense_graph_network():
    data, _ = draw()
    z = data.x - data.x.mean(0)
    graph = build_graph(z, 5)
    place = graph.find(z, are_nodes=True)
    net = NodeNetwork(z, place, graph.describe(place), 3, Architecture(hidden=6), seed=1).eval()
    _, dense = make_dense(z, 5)
    w1, b1 = net.first.weight.detach().numpy(), net.first.bias.detach().numpy()
    w2, b2 = net.second.weight.detach().numpy(), net.second.bias.detach().numpy()
    h = np.maximum(dense @ (z @ w1.T + b1), 0)
    h = np.maximum(dense @ (h @ w2.T + b2), 0)
    np.testing.assert_allclose(net.embed().detach().numpy(), h, rtol=1e-3, atol=1e-5)
    rebuilt = net.rebuild().detach().numpy()
    w, b = net.output.weight.detach().numpy(), net.output.bias.detach().numpy()
    want = (h + 0.1 * rebuilt) @ w.T + b
    got = net(torch.arange(len(z))).detach().numpy()
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)


def test_a_new_row_gets_what_it_would_get_as_a_node_that_no_other_points_to():
    data, _ = draw()
    model = XNode(k=5, hidden=6, epochs=30).fit(data)
    new = draw(4, seed=9)[0].x
    z = (data.x - model.centre) / model.scale
    for row in (new - model.centre) / model.scale:
        similarity = cosine_similarity(row[None], z)[0]
        nearest = np.argsort(-similarity)[:5]
        weight = np.maximum(similarity[nearest], 0)
        _, dense = make_dense(z, 5)
        first = z @ model.weight_1.T + model.bias_1
        second = np.maximum(dense @ first, 0) @ model.weight_2.T + model.bias_2
        own = row @ model.weight_1.T + model.bias_1
        own = np.maximum((own + weight @ first[nearest]) / (1 + weight.sum()), 0)
        own = own @ model.weight_2.T + model.bias_2
        want = np.maximum((own + weight @ second[nearest]) / (1 + weight.sum()), 0)
        got = model.embed((row * model.scale + model.centre)[None].astype(np.float32))[0]
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)


def test_context_by_hand():
    data, y = draw(40)
    z = data.x - data.x.mean(0)
    graph = build_graph(z, 4)
    place = graph.find(z, are_nodes=True)
    adjacency, _ = make_dense(z, 4)
    points = np.zeros_like(adjacency, bool)
    np.put_along_axis(points, graph.index, True, axis=1)
    got = dict(zip(CONTEXT[:N_STATIC], graph.describe(place).T, strict=True))
    positive = (cosine_similarity(z) > 0) & ~np.eye(40, dtype=bool)
    np.testing.assert_array_equal(got["popularity"], (points & positive).sum(0))
    np.testing.assert_allclose(got["similarity"], adjacency.sum(1) / 4, rtol=1e-4)
    values, vectors = np.linalg.eig(adjacency)
    leading = np.abs(vectors[:, values.real.argmax()].real)
    assert np.corrcoef(got["centrality"], leading)[0, 1] > 0.98
    for i in range(40):
        pairs = [(a, b) for a in graph.index[i] for b in graph.index[i] if a != b]
        assert got["clustering"][i] == pytest.approx(np.mean([points[a, b] for a, b in pairs]))
        near = graph.index[i]
        want = (np.mean(y[near] == 1) + np.mean(y[graph.index[near]] == 1)) / 2
        own = np.full(40, 1)
        assert graph.measure_agreement(place, y, own)[i] == pytest.approx(want)


def test_the_context_of_a_labelled_row_does_not_know_its_label():
    """The leak of the published code: agreement with a node's own given label."""
    data, _ = draw(hidden=0.0)
    model = XNode(epochs=40).fit(data)
    context = model.describe_context(data.x)[:, N_STATIC]
    place = model.find_neighbours(data.x)
    own = model.logits(data.x).argmax(1)
    near = model.answers[place.index] == own[:, None]
    far = model.answers[model.index[place.index]] == own[:, None, None]
    want = near.mean(1) + far.mean((1, 2)) - 1
    np.testing.assert_allclose(context, want, atol=1e-9)


def test_the_loss_rebuilds_the_embedding_and_leaves_it_alone():
    data, y = draw()
    graph = build_graph(data.x, 5)
    place = graph.find(data.x, are_nodes=True)
    net = NodeNetwork(data.x, place, graph.describe(place), 3, Architecture(hidden=6), seed=1)
    rows = torch.arange(10)
    batch = Batch(rows, torch.from_numpy(y[:10]), rows)
    step = TrainingStep(0, 1, torch.Generator().manual_seed(0))
    losses = []
    for b in (0.0, 2.0):
        net.zero_grad()
        loss = SelfExplanation(b, 0.0, lambda guessed: np.zeros(len(guessed)))(net, batch, step)
        loss.backward()
        losses.append((loss.item(), net.second.weight.grad.clone(), net.decoder.bias.grad.clone()))
    error = ((net.rebuild() - net.embed()) ** 2).mean().item()
    assert losses[1][0] - losses[0][0] == pytest.approx(2 * error, rel=1e-4)
    torch.testing.assert_close(losses[1][1], losses[0][1])  # h has no gradient from it
    assert not torch.allclose(losses[1][2], losses[0][2])


def test_training_rebuilds_better_than_the_mean():
    data, _ = draw(200)
    model = XNode(reconstruction=1.0).fit(data)
    h, rebuilt = model.embed(data.x), model.explain(data.x)[1]
    assert ((rebuilt - h) ** 2).sum() < 0.9 * ((h - h.mean(0)) ** 2).sum()
    assert model.explain(data.x)[0].shape == (200, 32)


def test_unlabelled_rows_help_where_labels_are_few():
    gains = []
    for seed in range(3):
        data = draw(300, seed, hidden=0.97)[0]
        some = data.y >= 0
        test, truth = draw(500, seed + 50)
        with_others = XNode(seed=seed).fit(data).logits(test.x).argmax(1)
        alone = XNode(seed=seed).fit(data.take(some)).logits(test.x).argmax(1)
        gains.append(np.mean(with_others == truth) - np.mean(alone == truth))
    assert np.mean(gains) > -0.01


def test_a_text_counts_the_nearest_labelled_neighbours():
    data, _ = draw()
    model = XNode(epochs=60).fit(data)
    new = draw(6, seed=3)[0].x
    labelled = data.take_labelled()
    for row, text in zip(new, describe_nodes(model, new, NAMES), strict=True):
        similarity = cosine_similarity(row[None] - model.centre, labelled.x - model.centre)[0]
        near = labelled.y[np.argsort(-similarity)[:15]]
        answer = int(model.logits(row[None])[0].argmax())
        same = int((near == answer).sum())
        assert text.startswith(
            f"{NAMES[answer]}: {same} of its 15 nearest labelled neighbours are {NAMES[answer]}"
        )
        for c in set(near.tolist()) - {answer}:
            assert f"{(near == c).sum()} {NAMES[c]}" in text


def test_context_alone_ignores_features():
    data, y = draw()
    graph = build_graph(data.x, 5)
    place = graph.find(data.x, are_nodes=True)
    net = NodeNetwork(
        data.x, place, graph.describe(place), 3, Architecture(uses_features=False), seed=0
    )
    trained, answers = train_nodes(
        net, data.y, lambda g: np.zeros(len(g)), reconstruction=0.1, dropout=0.0, epochs=5, seed=0
    )
    before = trained(torch.arange(90))
    trained.get_buffer("x").zero_()
    torch.testing.assert_close(trained(torch.arange(90)), before)
    assert answers.shape == y.shape


@pytest.mark.parametrize("settings", [{"k": 0}, {"dropout": 1.0}, {"reconstruction": -1.0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="must be at least"):
        XNode(**settings)
