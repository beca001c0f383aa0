"""Heads of domains: the loss against loops, the mixture against its formula."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from helpers.small_training import make_step
from ilk.core.data import Data
from ilk.methods.drm import DRM, DomainHeads, _score_own_heads, compute_trust
from ilk.training.heads import Head
from ilk.training.objectives.domain_specific_risk import DomainSpecificRisk, add_domain_layers
from ilk.training.trainer import Batch

NAMES = ("a", "b", "c")


def worlds(n=240, seed=0):
    rng = np.random.default_rng(seed)
    y, domain = rng.integers(0, 3, n), rng.choice([1, 4, 9], n, p=[0.6, 0.3, 0.1])
    means = np.random.default_rng(5).standard_normal((3, 4)) * 2
    shift = np.random.default_rng(6).standard_normal((10, 4))
    x = means[y] + shift[domain] + rng.standard_normal((n, 4))
    return Data(x.astype(np.float32), y, NAMES, domain=domain)


def some(gamma=1.0, distance=False):
    """Heads of random weights; class b is unseen."""
    rng = np.random.default_rng(0)
    arr = lambda *s: rng.standard_normal(s).astype(np.float32)  # noqa: E731
    weight, bias = arr(4, 3, 6), arr(4, 3)
    weight[:, 1], bias[:, 1] = 0, -np.inf
    return DomainHeads(
        arr(5), np.full(5, 2, np.float32), arr(6, 5), arr(6), weight, bias,
        np.abs(arr(3, 6)), gamma, distance,
    )  # fmt: skip


def by_hand(model, row):
    """Hidden units, and each head's probabilities of the seen classes, of one row."""
    h = np.maximum(
        model.hidden_weight @ ((row - model.centre) / model.scale) + model.hidden_bias, 0
    )
    return h, [
        np.exp(log_softmax(w[[0, 2]] @ h + b[[0, 2]]))
        for w, b in zip(model.weight, model.bias, strict=True)
    ]


@pytest.mark.parametrize("gamma", [0.0, 1.0, 5.0])
@pytest.mark.parametrize("distance", [False, True])
def test_heads_are_mixed_by_the_inverse_of_their_gap(gamma, distance):
    model, x = some(gamma, distance), np.random.default_rng(1).standard_normal((12, 5))
    result = model.logits(x)
    for row, logits in zip(x, result, strict=True):
        h, (_, *own) = by_hand(model, row)
        if distance:
            gaps = [1 - h @ m / np.linalg.norm(h) / np.linalg.norm(m) for m in model.means]
        else:
            gaps = [-np.sum(p * np.log(p)) for p in own]
        weight = np.array([gap**-gamma for gap in gaps])
        mixed = sum(w * p for w, p in zip(weight / weight.sum(), own, strict=True))
        np.testing.assert_allclose(np.exp(logits[[0, 2]]), mixed, rtol=1e-4)
        assert np.isneginf(logits[1])


def test_no_gamma_is_the_mean_of_the_heads_and_a_large_one_the_surest():
    x = np.random.default_rng(2).standard_normal((30, 5))
    own = np.exp(some().compute_head_log_proba(x)[1:])
    np.testing.assert_allclose(np.exp(some(0.0).logits(x)), own.mean(0), atol=1e-12)
    entropy = -np.sum(own * np.log(np.maximum(own, 1e-300)), axis=2)
    surest = own[entropy.argmin(0), np.arange(30)]
    np.testing.assert_allclose(np.exp(some(5000.0).logits(x)), surest, atol=1e-3)


def test_the_nearest_domain_answers_and_not_the_farthest():
    model = some(200.0, distance=True)
    x = np.random.default_rng(3).standard_normal((30, 5))
    for row, logits in zip(x, model.logits(x), strict=True):
        h, (_, *own) = by_hand(model, row)
        cosine = [h @ m / np.linalg.norm(m) for m in model.means]
        first, second = np.sort(cosine)[::-1][:2]
        if first - second > 0.1 * np.linalg.norm(h):
            np.testing.assert_allclose(np.exp(logits[[0, 2]]), own[np.argmax(cosine)], atol=1e-3)


def test_the_loss_is_the_mean_over_domains_of_own_and_pooled():
    data = worlds(40)
    net = Head.from_data(data, 8, 0)
    add_domain_layers(net, 3)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    domain = np.unique(data.domain, return_inverse=True)[1]
    at = torch.arange(5, 30)
    batch = Batch(torch.tensor(data.x[5:30].tolist()), torch.tensor(data.y[5:30].tolist()), at)
    loss = DomainSpecificRisk(torch.from_numpy(domain), 3)(net, batch, make_step())
    means = []
    for d in range(3):
        rows = [i for i in range(25) if domain[5 + i] == d]
        losses = []
        for i in rows:
            h = net.compute_hidden(batch.x[i : i + 1])[0]
            own = (
                net.domain_heads.weight[3 * d : 3 * d + 3] @ h
                + net.domain_heads.bias[3 * d : 3 * d + 3]
            )
            pooled = net.output_layer.weight @ h + net.output_layer.bias
            losses += [-z.log_softmax(0)[batch.y[i]].item() for z in (own, pooled)]
        means.append(np.mean(losses))
    assert len(set(domain[5:30])) == 3
    assert loss.item() == pytest.approx(np.mean(means), rel=1e-5)


def test_each_head_learns_its_own_domain_where_domains_contradict_each_other():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 2)).astype(np.float32)
    domain, side = rng.integers(0, 2, 300), (x[:, 0] > 0).astype(int)
    data = Data(x, np.where(domain == 1, 1 - side, side), ("a", "b"), domain=domain)
    model = DRM(hidden=16, epochs=5.0).fit(data)
    right = model.compute_head_log_proba(x).argmax(2) == data.y
    assert right[1][domain == 0].mean() > 0.95
    assert right[2][domain == 1].mean() > 0.95
    assert right[1][domain == 1].mean() < 0.05
    assert abs(right[0].mean() - 0.5) < 0.15


def test_domain_names_do_not_change_the_scores():
    data = worlds()
    renamed = replace(data, domain=data.domain * 7 + 2)
    x = worlds(seed=1).x
    np.testing.assert_array_equal(
        DRM(hidden=8, epochs=2.0).fit(data).logits(x),
        DRM(hidden=8, epochs=2.0).fit(renamed).logits(x),
    )


def test_one_domain_leaves_the_pooled_head():
    data = replace(worlds(), domain=np.full(240, 3))
    model = DRM().fit(data)
    assert len(model.weight) == 1
    assert model.means.shape == (0, 128)
    np.testing.assert_array_equal(model.logits(data.x), model.compute_head_log_proba(data.x)[0])


def test_it_learns_what_the_domains_share():
    model, new = DRM().fit(worlds()), worlds(seed=1)
    for form in (model, replace(model, use_distance=True)):
        assert np.mean(form.logits(new.x).argmax(1) == new.y) > 0.85


def test_invalid_fields_raise():
    with pytest.raises(ValueError, match="gamma is -1"):
        DRM(gamma=-1)
    with pytest.raises(ValueError, match="hidden is 0"):
        DRM(hidden=0)


def test_means_are_the_hidden_units_of_each_domain():
    data = worlds()
    model = DRM(hidden=8, epochs=2.0).fit(data)
    z = np.maximum(
        (data.x - model.centre) / model.scale @ model.hidden_weight.T + model.hidden_bias, 0
    )
    for d, name in enumerate((1, 4, 9)):
        np.testing.assert_allclose(model.means[d], z[data.domain == name].mean(0), atol=1e-4)


def test_an_unseen_class_does_not_contribute_to_the_loss():
    data = worlds(40)
    wide = replace(data, y=2 * data.y, classes=tuple("abcde"))
    domain = np.unique(data.domain, return_inverse=True)[1]
    lost = []
    for rows in (data, wide):
        net = Head.from_data(rows, 8, 0)
        add_domain_layers(net, 3)
        x, y = torch.tensor(rows.x.tolist()), torch.tensor(rows.y.tolist())
        objective = DomainSpecificRisk(torch.from_numpy(domain), 3)
        lost.append(objective(net, Batch(x, y, torch.arange(40)), make_step()))
    assert lost[0].item() == pytest.approx(np.log(3), rel=1e-5)  # heads start from zeros
    assert lost[1].item() == pytest.approx(np.log(3), rel=1e-5)


def test_trust_is_rows_times_accuracy_above_chance():
    domain = np.array([0] * 40 + [1] * 20 + [2] * 2)
    held = np.arange(62) % 2 == 0
    right = np.where(domain == 0, 1.0, np.arange(62) % 4 == 0)
    trust = compute_trust(domain, right, held, np.ones(62), 4)
    raw = [40 * (21 / 24 - 1 / 4), 20 * (6 / 14 - 1 / 4), 2 * (2 / 5 - 1 / 4)]
    if right[60] == 0:
        raw[2] = 1e-6 * raw[0]
    np.testing.assert_allclose(trust, np.array(raw) / raw[0], rtol=1e-9)
    twice = compute_trust(domain, right, held, np.where(domain == 1, 2.0, 1.0), 4)
    assert twice[1] == pytest.approx(40 * (11 / 24 - 1 / 4) / raw[0])
    np.testing.assert_array_equal(compute_trust(domain, 0 * right, held, np.ones(62), 4), 1)


def test_layers_are_mixed_by_trust_and_gap():
    trust = np.array([1.0, 0.2, 1e-6])
    model, x = replace(some(), trust=trust), np.random.default_rng(1).standard_normal((12, 5))
    for row, logits in zip(x, model.logits(x), strict=True):
        own = by_hand(model, row)[1][1:]
        weight = [t / -np.sum(p * np.log(p)) for t, p in zip(trust, own, strict=True)]
        mixed = sum(w * p for w, p in zip(weight / np.sum(weight), own, strict=True))
        np.testing.assert_allclose(np.exp(logits[[0, 2]]), mixed, rtol=1e-4)


def test_two_rows_of_a_domain_do_not_capture_the_predictions():
    """A layer that saw one class is sure of it everywhere: of all gaps, its entropy is least."""
    data = worlds(300)
    rest = data.take(np.flatnonzero(data.domain != 9))
    two = data.take(np.flatnonzero((data.domain == 9) & (data.y == 0))[:2])
    new = worlds(seed=1)
    model = DRM().fit(rest.concat(two))
    with_two, without = (
        np.mean(m.logits(new.x).argmax(1) == new.y) for m in (model, DRM().fit(rest))
    )
    assert model.trust[2] < 0.02
    assert with_two > without - 0.02
    captured = np.mean(replace(model, trust=None).logits(new.x).argmax(1) == new.y)
    assert captured < with_two - 0.05


def test_rows_of_a_domain_without_a_layer_count_as_wrong():
    model, data = DRM(hidden=8, epochs=5.0).fit(worlds()), worlds(60, seed=1)
    hits = _score_own_heads(model, np.array([1, 4, 7]), data)
    assert hits[data.domain == 9].sum() == 0
    right = model.compute_head_log_proba(data.x).argmax(2) == data.y
    np.testing.assert_array_equal(hits[data.domain == 4], right[2][data.domain == 4])
