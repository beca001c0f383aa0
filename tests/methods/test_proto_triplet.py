"""Episodic losses against loops, and an embedding that serves classes it never saw."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits

from ilk.artifacts.pack import pack, unpack
from ilk.core.data import Data
from ilk.methods.nearest_mean import NearestClassMean
from ilk.methods.proto_triplet import ProtoTriplet
from ilk.protocols import episodes
from ilk.training.embeddings import (
    STRENGTHS,
    score_nearest_mean,
    select_own_strength,
    select_strength,
    split_rows,
)
from ilk.training.episodes import EPSILON, Episode, EpisodicSum
from ilk.training.objectives.icnn import ICNN, icnn_loss
from ilk.training.objectives.proto_triplet import ProtoTripletLoss, proto_triplet_loss
from ilk.training.objectives.prototypical import prototypical_loss
from ilk.training.objectives.triplet import triplet_loss
from ilk.training.residual_head import ResidualHead


def make_task(seed=0, n=24, h=5, k=4):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, h, generator=generator, dtype=torch.float64)
    y = torch.randint(0, k, (n,), generator=generator)
    return rows, y, Episode.sample(rows, y, generator)


def far(a, b):
    return float(((a - b) ** 2).sum()) / len(a) ** 0.5


def test_half_of_each_class_asks_and_the_others_are_averaged():
    rows, y, task = make_task()
    y = torch.cat([y, torch.tensor([9])])  # alone: no task for it
    rows = torch.cat([rows, torch.ones(1, 5, dtype=torch.float64)])
    task = Episode.sample(rows, y, torch.Generator().manual_seed(1))
    assert len(task.embeddings) == 24
    assert len(task.prototypes) == 4
    for c in range(4):
        own = task.y == c
        assert task.is_query[own].sum() == own.sum() - own.sum() // 2
        want = task.embeddings[own & ~task.is_query].mean(0)
        np.testing.assert_allclose(task.prototypes[c], want)
        assert (
            len(torch.unique(y[[int((rows == r).all(1).nonzero()) for r in task.embeddings[own]]]))
            == 1
        )
    again = Episode.sample(rows, y, torch.Generator().manual_seed(1))
    other = Episode.sample(rows, y, torch.Generator().manual_seed(2))
    assert torch.equal(again.is_query, task.is_query)
    assert not torch.equal(other.is_query, task.is_query)


def test_proto_triplet_is_a_sum_over_prototypes_positives_and_negatives():
    _, _, task = make_task()
    query, y = task.embeddings[task.is_query], task.y[task.is_query]
    for margin in (0.3, 2.0):
        costs = [
            max(0.0, far(task.prototypes[k], query[i]) - far(task.prototypes[k], query[j]) + margin)
            for k in range(4)
            for i in range(len(y))
            for j in range(len(y))
            if y[i] == k != y[j]
        ]
        want = np.mean([c for c in costs if c > 0])
        assert float(proto_triplet_loss(task, margin)) == pytest.approx(want)


def test_prototypical_is_the_cross_entropy_of_distances():
    _, _, task = make_task()
    total = []
    for row, c in zip(task.embeddings[task.is_query], task.y[task.is_query], strict=True):
        near = np.exp([-far(row, p) for p in task.prototypes])
        total.append(-np.log(near[c] / near.sum()))
    assert float(prototypical_loss(task)) == pytest.approx(np.mean(total))


def test_ordinary_triplets_have_the_farthest_partner():
    _, _, task = make_task()
    rows, y, costs = task.embeddings, task.y, []
    for a in range(len(y)):
        own = max(far(rows[a], rows[p]) for p in range(len(y)) if p != a and y[p] == y[a])
        costs += [own - far(rows[a], rows[n]) + 1 for n in range(len(y)) if y[n] != y[a]]
    want = np.mean([c for c in costs if c > 0])
    assert float(triplet_loss(task)) == pytest.approx(want)


def test_icnn_is_its_three_factors():
    _, _, task = make_task()
    rows, y, n, scores = task.embeddings, task.y, len(task.y), []
    d = np.array([[np.sqrt(far(a, b) + EPSILON) for b in rows] for a in rows])
    for i in range(n):
        own = sorted(d[i, j] for j in range(n) if j != i and y[j] == y[i])[:3]
        other = sorted(d[i, j] for j in range(n) if y[j] != y[i])[:3]
        order = [j for j in np.argsort(d[i]) if j != i][:3]
        share = np.mean([float(y[j] == y[i]) for j in order])
        scores.append((1 - np.mean(own) / d.max()) * np.mean(other) / d.max() * share)
    got = float(icnn_loss(task, neighbours=3))
    assert got == pytest.approx(-np.log(np.mean(scores)), rel=1e-4)


@pytest.mark.parametrize(
    "loss",
    [
        prototypical_loss,
        triplet_loss,
        proto_triplet_loss,
        icnn_loss,
    ],
)
def test_every_loss_is_lower_where_classes_are_apart_and_has_a_finite_slope(loss):
    y = torch.arange(4).repeat(6)
    rows, noise = torch.eye(4, 8)[y] * 6, torch.randn(24, 8, generator=torch.Generator())
    apart, mixed = (
        Episode.sample(x, y, torch.Generator().manual_seed(0)) for x in (rows + 0.1 * noise, noise)
    )
    assert loss(apart) < loss(mixed)
    same = torch.zeros(24, 8, requires_grad=True)  # an embedding that has collapsed
    loss(Episode.sample(same, y, torch.Generator())).backward()
    assert torch.isfinite(same.grad).all()


def make_base_and_new(seed=0, k=30, each=12, d=40):
    """Classes that differ in 4 of the features; the others are louder and say nothing."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(k), each)
    x = 3 * rng.standard_normal((len(y), d))
    x[:, :4] = rng.standard_normal((k, 4))[y] * 2 + 0.4 * rng.standard_normal((len(y), 4))
    data = Data(x.astype(np.float32), y, tuple(map(str, range(k))))
    half = k // 2
    base = Data(data.x[y < half], y[y < half], data.classes[:half])
    return base, Data(data.x[y >= half], y[y >= half] - half, data.classes[half:])


@pytest.mark.parametrize(
    "method", [ProtoTriplet(icnn=0.0), ProtoTriplet(triplet=0.0), ProtoTriplet()]
)
def test_an_embedding_of_some_classes_serves_others(method):
    base, new = make_base_and_new()
    hidden = method.fit(base).compute_hidden
    embedded = replace(new, x=hidden(new.x).astype(np.float32))

    def right(data):
        return np.mean(
            [
                np.mean(NearestClassMean().fit(s.train).logits(s.test.x).argmax(1) == s.test.y)
                for s in episodes(data, 3, 50, n_classes=5, n_episodes=20, seed=0)
            ]
        )

    assert right(embedded) > right(new) + 0.1


def test_answers_are_those_of_the_nearest_mean_in_the_embedding():
    base, _ = make_base_and_new()
    model = ProtoTriplet(epochs=2.0).fit(base)
    rows = model.embed(base.x, model.own_strength)
    means = np.stack([rows[base.y == c].mean(0) for c in range(base.k)])
    near = ((rows[:, None] - means) ** 2).sum(2)
    got = model.logits(base.x)
    t = (got[0, 1] - got[0, 0]) / (0.5 * (near[0, 0] - near[0, 1]))
    assert t > 0
    np.testing.assert_allclose(
        got - got[:, :1], -0.5 * t * (near - near[:, :1]), rtol=1e-3, atol=1e-2
    )


def test_the_embedding_starts_as_the_features_up_to_one_factor():
    base, new = make_base_and_new()
    net = ResidualHead.from_data(base, 16)
    rows = net.to_model().compute_hidden(new.x)
    np.testing.assert_allclose(cdist(rows, rows), cdist(new.x, new.x) / net.unit.item(), rtol=1e-4)
    inner = net.compute_hidden(net.standardize(torch.from_numpy(np.array(base.x))))
    squared = cdist(inner.numpy(force=True), inner.numpy(force=True), "sqeuclidean")
    np.testing.assert_allclose(squared.mean() / 40**0.5, 4, rtol=1e-3)
    with torch.no_grad():
        net.branch_layer.weight.normal_()
        hidden = torch.relu(net.hidden_layer(net.standardize(torch.from_numpy(np.array(new.x)))))
    want = rows + (hidden @ net.branch_layer.weight.T).numpy(force=True)
    np.testing.assert_allclose(net.to_model().compute_hidden(new.x), want, rtol=1e-3, atol=1e-4)


def test_rows_that_make_no_task_leave_the_features_as_they_are():
    base, _ = make_base_and_new()
    single = base.take([int(np.flatnonzero(base.y == c)[0]) for c in range(base.k)])
    for data in (single, base.take_classes(["0"])):
        assert not ProtoTriplet().fit(data).branch_weight.any()


def test_the_strength_is_that_which_serves_held_out_classes():
    base, _ = make_base_and_new()
    objective = EpisodicSum((1.0, ProtoTripletLoss()), (1.0, ICNN()))
    assert select_strength(base, objective, 64, 20, 0) >= 0.5
    noise = np.random.default_rng(5).standard_normal((160, 30)).astype(np.float32)
    y = np.repeat(np.arange(8), 20)
    noise[np.arange(160), y] += 4  # each class has a feature of its own: nothing carries over
    alone = Data(noise, y, tuple("abcdefgh"))
    assert select_strength(alone, objective, 64, 20, 0) <= 0.25
    assert select_own_strength(alone, objective, 64, 20, 0) in STRENGTHS
    few = alone.take_classes(["a", "b", "c"])
    assert select_strength(few, objective, 64, 20, 0) == 0.5


def test_the_training_classes_have_a_strength_of_their_own():
    """Digits: training helps to tell the training classes apart, and new ones hardly."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    data = Data((x[order] / 16).astype(np.float32), y[order], tuple("0123456789"))
    train, test = data.take(np.arange(200)), data.take(np.arange(200, 1797))
    model = ProtoTriplet().fit(train)
    assert model.own_strength > model.strength

    def right(m):
        return np.mean(m.logits(test.x).argmax(1) == test.y)

    assert right(model) > right(ProtoTriplet(strength=0.0).fit(train)) + 0.01


def test_the_strength_scales_what_is_added():
    base, new = make_base_and_new()
    start, half, whole = (
        ProtoTriplet(epochs=2.0, strength=s).fit(base).compute_hidden(new.x) for s in (0.0, 0.5, 1)
    )
    np.testing.assert_allclose(half, (start + whole) / 2, atol=1e-5)
    assert np.abs(whole - start).max() > 0.1
    ratio = cdist(start, start)[0, 1:] / cdist(new.x, new.x)[0, 1:]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)


def test_a_fitted_model_can_be_saved():
    base, new = make_base_and_new()
    model = ProtoTriplet(epochs=2.0, strength=1.0).fit(base)
    saved = unpack(*pack({"model": model}))["model"]
    np.testing.assert_array_equal(saved.logits(new.x), model.logits(new.x))


def test_support_rows_are_half_of_a_class_and_at_most_five():
    y = np.repeat([3, 5, 9], [4, 20, 3])
    is_support = split_rows(y, np.random.default_rng(0))
    assert [int(is_support[y == c].sum()) for c in (3, 5, 9)] == [2, 5, 1]
    rows = np.array([[0.0], [1.0], [10.0], [11.0]])
    draw = np.array([True, False, True, False])
    assert score_nearest_mean(rows, np.array([0, 0, 1, 1]), [draw]) == 1
    assert score_nearest_mean(rows, np.array([0, 1, 1, 1]), [draw]) == 0.5


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"triplet": 0.0, "icnn": 0.0}, "weights of losses"),
        ({"icnn": -1.0}, "weights of losses"),
        ({"margin": 0.0}, "margin 0.0"),
        ({"hidden": 0}, "hidden 0"),
        ({"epochs": 0.0}, "epochs 0.0"),
        ({"strength": 1.5}, "strength is 1.5"),
    ],
)
def test_out_of_range_hyperparameters_are_rejected(fields, match):
    with pytest.raises(ValueError, match=match):
        ProtoTriplet(**fields)
