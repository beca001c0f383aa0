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
    """The loss, pair by pair; row i has its second view at i + n."""
    total, n = 0.0, len(y)
    for i in range(2 * n):
        others = [a for a in range(2 * n) if a != i]
        same = [a for a in others if subclass[a % n] == subclass[i % n]]
        outside = [a for a in others if subclass[a % n] != subclass[i % n] or a % n == i % n]
        kin = [a for a in outside if y[a % n] == y[i % n]]
        for positive, among, t, much in (
            (same, others, near, near / 0.07),
            (kin, outside, far[i % n], 0.2),
        ):
            whole = sum(np.exp(z[i] @ z[a] / t) for a in among)
            total -= much * np.mean([np.log(np.exp(z[i] @ z[p] / t) / whole) for p in positive])
    return total / (2 * n)


def test_the_loss_is_the_sum_over_pairs():
    z, y = unit(28, 5), np.array([0] * 7 + [1] * 5 + [2, 3])
    subclass = np.array([0, 0, 0, 1, 1, 1, 2, 3, 3, 4, 4, 4, 5, 6])
    far = np.array([0.3, 0.5, 0.4, 0.2])[y]
    tensors = (torch.from_numpy(a) for a in (z, y, subclass))
    got = two_level_loss(*tensors, 0.25, torch.from_numpy(far)).item()
    np.testing.assert_allclose(got, loss_with_loops(z, y, subclass, 0.25, far), rtol=1e-10)


def test_whole_classes_without_the_second_level_give_supervised_contrastive_learning():
    """Khosla et al. 2020, arXiv 2004.11362, equation 2, with the factor of their code."""
    z, y = unit(24, 4, seed=1), np.arange(12) % 3
    cosine = np.exp(z @ z.T / 0.2) * (1 - np.eye(24))
    share = np.log(cosine / cosine.sum(1, keepdims=True) + np.eye(24))
    same = (np.tile(y, 2)[:, None] == np.tile(y, 2)) & ~np.eye(24, dtype=bool)
    wanted = -0.2 / 0.07 * np.mean([share[i, same[i]].mean() for i in range(24)])
    whole = split_subclasses(z[:12], y, 100, np.zeros(0, int), np.random.default_rng(0))
    np.testing.assert_array_equal(whole, y)
    z, y, whole = (torch.from_numpy(a) for a in (z, y, whole))
    far = torch.full((12,), 0.5, dtype=torch.float64)
    got = two_level_loss(z, y, whole, 0.2, far, beta=0.0).item()
    np.testing.assert_allclose(got, wanted, rtol=1e-10)


def test_rows_that_are_alone_attract_their_second_view():
    """With a subclass for each row both levels are that of SimCLR, at two temperatures."""
    z = unit(6, 4, seed=2)
    views = np.arange(6) % 3
    nt_xent = {}
    for t in (0.1, 0.3):
        scores = z @ z.T / t - 1e9 * np.eye(6)
        log_proba = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        pairs = (views[:, None] == views) & ~np.eye(6, dtype=bool)
        nt_xent[t] = -log_proba[pairs].mean()
    tensor, alone = torch.from_numpy(z).requires_grad_(), torch.arange(3)
    far = torch.full((3,), 0.3, dtype=torch.float64)
    loss = two_level_loss(tensor, torch.zeros(3), alone, 0.1, far, 0.0)
    np.testing.assert_allclose(loss.item(), 0.1 / 0.07 * nt_xent[0.1])
    both = two_level_loss(
        tensor, alone, alone, 0.1, torch.full((3,), 0.3, dtype=torch.float64), 1.0
    )
    np.testing.assert_allclose(both.item(), 0.1 / 0.07 * nt_xent[0.1] + nt_xent[0.3])
    both.backward()
    assert torch.isfinite(tensor.grad).all()


def test_temperatures_of_classes_grow_with_their_spread():
    z, y = unit(40, 6, seed=3), np.repeat([0, 2], [30, 10])
    z[:30] = z[0] + 0.2 * z[:30]  # a narrow class, and one spread over the sphere
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    got = tlc._compute_temperature_ratio(z, y)
    spread = np.array(
        [
            np.mean([np.linalg.norm(r - z[y == c].mean(0)) for r in z[y == c]])
            / np.log((y == c).sum() + 10)
            for c in (0, 2)
        ]
    )
    np.testing.assert_allclose(got[[0, 2]], np.exp(spread / spread.mean()))
    assert got[2] > got[0]


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
    with pytest.raises(ValueError, match="beta is -1"):
        SubclassContrastive(beta=-1.0)
    with pytest.raises(ValueError, match=f"{name} is 0"):
        SubclassContrastive(**{name: 0})
