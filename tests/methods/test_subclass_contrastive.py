"""The two-layer loss against loops over pairs, and subclasses against what they promise."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from helpers.small_training import make_step
from ilk.core.data import Data
from ilk.core.metrics import macro_accuracy
from ilk.maths.balanced_kmeans import assign_balanced, split_subclasses
from ilk.methods import subclass_contrastive as sc
from ilk.methods.prior_correction import PriorCorrection
from ilk.methods.subclass_contrastive import SubclassContrastive
from ilk.protocols import long_tail
from ilk.training.heads import Head, make_batch
from ilk.training.objectives import two_level_contrastive as tlc
from ilk.training.objectives.two_level_contrastive import TwoLevelContrastive, two_level_loss


def unit(n, h, seed=0):
    z = np.random.default_rng(seed).standard_normal((n, h))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def loss_with_loops(z, y, subclass, near, far):
    """The loss, pair by pair."""
    total, n = 0.0, len(z)
    for i in range(n):
        others = [a for a in range(n) if a != i]
        same = [a for a in others if subclass[a] == subclass[i]]
        kin = [a for a in others if y[a] == y[i] and subclass[a] != subclass[i]]
        outside = [a for a in others if subclass[a] != subclass[i]]
        for positive, among, t, much in ((same, others, near, 1), (kin, outside, far[i], tlc.BETA)):
            whole = sum(np.exp(z[i] @ z[a] / t) for a in among)
            logs = [np.log(np.exp(z[i] @ z[p] / t) / whole) for p in positive]
            total -= much * np.mean(logs) if logs else 0.0
    return total / n


def test_the_loss_is_the_sum_over_pairs():
    z, y = unit(14, 5), np.array([0] * 7 + [1] * 5 + [2, 3])
    subclass = np.array([0, 0, 0, 1, 1, 1, 2, 3, 3, 4, 4, 4, 5, 6])
    far = np.array([0.3, 0.5, 0.4, 0.2])[y]
    tensors = (torch.from_numpy(a) for a in (z, y, subclass))
    got = two_level_loss(*tensors, 0.25, torch.from_numpy(far)).item()
    np.testing.assert_allclose(got, loss_with_loops(z, y, subclass, 0.25, far), rtol=1e-10)


def test_whole_classes_give_supervised_contrastive_learning():
    """Khosla et al. 2020, arXiv 2004.11362, equation 2."""
    z, y = unit(12, 4, seed=1), np.arange(12) % 3
    cosine = np.exp(z @ z.T / 0.2) * (1 - np.eye(12))
    share = np.log(cosine / cosine.sum(1, keepdims=True) + np.eye(12))
    same = (y[:, None] == y) & ~np.eye(12, dtype=bool)
    wanted = -np.mean([share[i, same[i]].mean() for i in range(12)])
    whole = split_subclasses(z, y, 100, np.zeros(0, int), np.random.default_rng(0))
    np.testing.assert_array_equal(whole, y)
    z, y, whole = (torch.from_numpy(a) for a in (z, y, whole))
    got = two_level_loss(z, y, whole, 0.2, torch.full((12,), 0.5, dtype=torch.float64)).item()
    np.testing.assert_allclose(got, wanted, rtol=1e-10)


def test_a_row_with_nobody_beside_it_adds_nothing_and_breaks_nothing():
    z = torch.from_numpy(unit(3, 2)).requires_grad_()
    alone = torch.arange(3)
    loss = two_level_loss(z, alone, alone, 0.1, torch.full((3,), 0.1))
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("size", [1, 8, 10, 25, 1000])
def test_subclasses_lie_within_classes_and_are_about_the_size_of_the_tail(size):
    counts = np.array([90, 41, 20, 9])
    y = np.random.default_rng(1).permutation(np.repeat(np.arange(4), counts))
    got = split_subclasses(unit(len(y), 6), y, size, np.zeros(0, int), np.random.default_rng(0))
    least = max(9, size)
    for c, n in enumerate(counts):
        sizes = np.unique(got[y == c], return_counts=True)[1]
        m = max(1, n // least)
        assert len(sizes) == m
        assert sizes.max() <= -(-n // m)
    assert len(np.unique(got)) == len({(a, b) for a, b in zip(y, got, strict=True)})


def test_subclasses_find_groups_that_are_there():
    rng = np.random.default_rng(0)
    centre = np.eye(8)[:6]
    group = np.repeat(np.arange(6), 20)
    z = centre[group] + 0.1 * rng.standard_normal((120, 8))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    y = group // 3  # two classes of three groups, and a tail of twenty
    z, y = np.vstack([z, unit(20, 8)]), np.append(y, np.full(20, 2))
    best = 0.0
    for seed in range(5):
        got = split_subclasses(z, y, 20, np.zeros(0, int), np.random.default_rng(seed))[:120]
        pure = np.mean([np.bincount(group[got == s]).max() / 20 for s in np.unique(got)])
        best = max(best, pure)
        again = split_subclasses(z, y, 20, np.append(got, np.full(20, 6)), rng)[:120]
        within = lambda s: np.mean([z[:120][s == j].std(0).mean() for j in np.unique(s)])  # noqa: E731
        assert within(again) <= within(got) + 1e-9  # going on from there is no worse
    assert best > 0.9


def test_no_centre_is_overfull_and_the_nearest_rows_come_first():
    similarity = np.random.default_rng(2).random((23, 4))
    home = assign_balanced(similarity, 6)
    assert home.min() >= 0
    assert np.bincount(home).max() <= 6
    roomy = assign_balanced(similarity, 23)
    np.testing.assert_array_equal(roomy, similarity.argmax(1))
    one = np.array([[0.9, 0.8], [0.7, 0.1], [0.8, 0.7], [0.2, 0.1]])
    assert assign_balanced(one, 2).tolist() == [0, 1, 0, 1]


def long_digits():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    data = Data((x[order] / 16).astype(np.float32), y[order], tuple("0123456789"))
    return long_tail(data.take(np.arange(1000)), 50, seed=1), data.take(np.arange(1000, 1797))


def test_the_objective_recomputes_subclasses_at_the_given_interval(monkeypatch):
    train, _ = long_digits()
    net = Head.from_data(train, 32)
    calls = []
    split = tlc.split_subclasses
    monkeypatch.setattr(tlc, "split_subclasses", lambda *a: calls.append(len(a[3])) or split(*a))
    objective = TwoLevelContrastive(cluster_every=3)
    objective.setup(net, make_batch(net, train))
    part = make_batch(net, train).take(torch.arange(32), "cpu")
    for index in range(7):
        step = make_step(index, generator=torch.Generator().manual_seed(index))
        objective.before_step(net, step)
        objective(net, part, step)
    assert calls == [0, len(train), len(train)]


def test_drawn_subclasses_have_the_sizes_of_clustered_ones_and_other_rows():
    train, _ = long_digits()
    net = Head.from_data(train, 32)
    one, other = (TwoLevelContrastive(use_clusters=c) for c in (True, False))
    for objective in (one, other):
        objective.setup(net, make_batch(net, train))
        objective.cluster(net)
    one, other = (SimpleNamespace(subclass=o.subclass.numpy()) for o in (one, other))
    np.testing.assert_array_equal(np.bincount(one.subclass), np.bincount(other.subclass))
    assert np.mean(one.subclass != other.subclass) > 0.3
    assert {(y, s) for y, s in zip(train.y, other.subclass, strict=True)} == {
        (y, s) for y, s in zip(train.y, one.subclass, strict=True)
    }


def test_the_last_layer_is_a_regression_on_hidden_units_with_the_prior_taken_off():
    train, test = long_digits()
    net = Head.from_data(train, 24, seed=2)
    model = sc.fit_balanced_layer(net, train)
    hidden = net.to_model().compute_hidden
    inner = Data(hidden(train.x).astype(np.float32), train.y, train.classes)
    wanted = PriorCorrection().fit(inner).logits(hidden(test.x).astype(np.float32))
    centred = lambda s: s - s.mean(1, keepdims=True)  # noqa: E731
    np.testing.assert_allclose(centred(model.logits(test.x)), centred(wanted), rtol=1e-4, atol=1e-3)


def test_training_draws_rows_of_a_class_together():
    train, test = long_digits()
    learned = SubclassContrastive(hidden=64, steps=80).fit(train)
    assert macro_accuracy(test.y, learned.logits(test.x).argmax(1)) > 0.75
    near = []
    for model in (Head.from_data(train, 64).to_model(), learned):
        z = model.compute_hidden(test.x)
        z /= np.linalg.norm(z, axis=1, keepdims=True)
        cosine, same = z @ z.T, test.y[:, None] == test.y
        near.append(cosine[same].mean() - cosine[~same].mean())
    assert near[1] > 1.2 * near[0]


@pytest.mark.parametrize(
    "name", ["min_subclass_size", "cluster_every", "hidden", "steps", "temperature"]
)
def test_invalid_settings_are_rejected(name):
    with pytest.raises(ValueError, match=f"{name} is 0"):
        SubclassContrastive(**{name: 0})
