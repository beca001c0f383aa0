"""RCAL beside loops, scikit-learn and the moments that its draws must have."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import LocalOutlierFactor

from ilk.core.data import Data
from ilk.core.metrics import macro_accuracy, softmax
from ilk.maths.folds import assign_folds
from ilk.methods import rcal
from ilk.methods.rcal import (
    RCAL,
    _ClassGaussian,
    _drop_outliers,
    _find_doubtful,
    _transfer_from_heads,
)
from ilk.protocols import symmetric_noise

NAMES = ("a", "b", "c", "d")


def blobs(counts=(120, 90, 60, 30), d=5, seed=0, apart=3.0):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    means = apart * rng.standard_normal((len(counts), d))
    mix = rng.standard_normal((d, d)) / np.sqrt(d)
    x = means[y] + rng.standard_normal((len(y), d)) @ mix
    return Data(x.astype(np.float32), y, NAMES[: len(counts)]), means


def test_draws_have_the_mixed_mean_and_covariance():
    rng = np.random.default_rng(1)
    one, two = rng.standard_normal((7, 3)), 2 * rng.standard_normal((40, 3)) + 5
    world = _ClassGaussian(one, np.array([1.0, -2.0, 3.0]), ((one, 0.3), (two, 0.7)), 0.25)
    samples = world.sample(200_000, rng)
    expected = 0.3 * np.cov(one.T) + 0.7 * np.cov(two.T) + 0.25 * np.eye(3)
    np.testing.assert_allclose(samples.mean(0), world.mean, atol=0.03)
    np.testing.assert_allclose(np.cov(samples.T), expected, atol=0.06)
    assert world.sample(-3, rng).shape == (0, 3)


def test_a_tail_class_borrows_by_nearness_and_by_how_few_rows_it_has():
    rng = np.random.default_rng(2)
    worlds = []
    for i, n in enumerate((6, 50, 60, 70, 80)):
        rows = rng.standard_normal((n, 3)) + 2 * i
        worlds.append(_ClassGaussian(rows, rows.mean(0), ((rows, 1.0),), 0.1))
    tail, heads = worlds[0], worlds[1:]
    got = _transfer_from_heads(tail, heads, 2.0)
    away = sorted((float(np.sum((tail.mean - h.mean) ** 2)), j) for j, h in enumerate(heads))[:3]
    typical = sum(a for a, _ in away) / 3
    raw = [np.exp(-(a - away[0][0]) / typical) for a, _ in away]
    weight = [r / sum(raw) for r in raw]
    lent = sum(w * heads[j].mean for w, (_, j) in zip(weight, away, strict=True))
    np.testing.assert_allclose(got.mean, (6 * tail.mean + 2 * lent) / 8)
    b = 3  # as many rows as features
    expected = 5 / (5 + b) * np.cov(tail.rows.T)
    for w, (_, j) in zip(weight, away, strict=True):
        expected += b / (5 + b) * w * np.cov(heads[j].rows.T)
    mixed = sum(share * np.cov(rows.T) for rows, share in got.covariance_terms)
    np.testing.assert_allclose(mixed, expected)
    assert weight[0] > weight[1] > weight[2]


def test_what_is_left_out_is_what_scikit_learns_factor_finds():
    rows = np.vstack([np.random.default_rng(3).standard_normal((60, 4)), 9 * np.eye(4)])
    judge = LocalOutlierFactor(20, contamination=0.25).fit(rows)
    inliers = _drop_outliers(rows, 0.25)
    cut = np.sort(judge.negative_outlier_factor_)[16]
    np.testing.assert_array_equal(inliers, rows[judge.negative_outlier_factor_ >= cut])
    assert not (np.abs(inliers) > 8).any()
    np.testing.assert_array_equal(_drop_outliers(rows[:2], 0.9), rows[:2])
    assert len(_drop_outliers(rows[:5], 0.95)) == 1


def test_with_nothing_left_out_borrowed_or_drawn_it_is_scikit_learns_regression():
    data, _ = blobs(apart=1.0)
    got = RCAL(contamination=0.0, borrowed_rows=0.0, target_size_ratio=0.0, C=0.5).fit(data)
    z = data.x.astype(np.float64)
    z = (z - z.mean(0)) / np.sqrt(z.var(0).mean())
    theirs = LogisticRegression(C=0.5, tol=1e-8, max_iter=2000).fit(z, data.y)
    mine = softmax(got.logits(data.x), axis=1)
    np.testing.assert_allclose(mine, theirs.predict_proba(z), atol=2e-3)


def test_doubtful_rows_are_those_that_scikit_learns_gaussians_give_another_class():
    data = symmetric_noise(blobs((200, 100, 60, 40), apart=2.0)[0], 0.2, seed=2)
    x = data.x.astype(np.float64)
    fold = assign_folds(data.y, rcal.N_FOLDS, seed=3)
    answer = np.empty(len(x), np.int64)
    for f in range(rcal.N_FOLDS):
        theirs = LinearDiscriminantAnalysis(priors=np.full(4, 0.25))
        answer[fold == f] = theirs.fit(x[fold != f], data.y[fold != f]).predict(x[fold == f])
    expected = answer != data.y
    assert 0.15 < expected.mean() < 0.5
    got = _find_doubtful(x, data, 0.9, 3)
    assert np.mean(got == expected) > 0.99  # theirs does not shrink the covariance


def test_wrong_rows_are_found_by_confidence_better_than_by_the_factor_where_classes_are_wide():
    clean, _ = blobs((200, 200, 200, 200), d=30, apart=0.5)
    noisy = symmetric_noise(clean, 0.3, seed=1)
    is_wrong = noisy.y != clean.y
    x = noisy.x.astype(np.float64)
    doubtful = _find_doubtful(x, noisy, 0.3, 0)
    kept = {tuple(row) for c in range(4) for row in _drop_outliers(x[noisy.y == c], 0.3)}
    far = np.array([tuple(row) not in kept for row in x])
    assert far.mean() >= doubtful.mean()
    assert np.mean(is_wrong[doubtful]) > np.mean(is_wrong[far]) + 0.2


def test_at_most_the_fraction_is_doubted_and_no_tiny_class_and_no_group_is_torn():
    data, _ = blobs((100, 100, 2), apart=0.1)
    x = data.x.astype(np.float64)
    doubtful = _find_doubtful(x, data, 0.3, 0)
    assert np.bincount(data.y[doubtful], minlength=3).tolist() == [30, 30, 0]
    pairs = Data(
        np.repeat(data.x[:200:2], 2, axis=0), data.y[:200], data.classes[:2],
        group=np.repeat(np.arange(100), 2),
    )  # fmt: skip
    doubtful = _find_doubtful(pairs.x.astype(np.float64), pairs, 1.0, 0)
    np.testing.assert_array_equal(doubtful[::2], doubtful[1::2])
    assert doubtful.mean() > 0.2  # a twin in the training part would vouch for its label
    one = data.take(np.array([0, 100, 200]))
    assert not _find_doubtful(one.x.astype(np.float64), one, 0.5, 0).any()


def test_every_class_is_filled_to_one_size(monkeypatch):
    calls = []
    real = rcal.SoftmaxRegressions.from_masks
    monkeypatch.setattr(
        rcal.SoftmaxRegressions, "from_masks", lambda s, y, t: calls.append(y) or real(s, y, t)
    )
    data, _ = blobs()
    RCAL(contamination=0.25, target_size_ratio=1.5, local_factor=True).fit(data)
    assert np.bincount(calls[-1]).tolist() == [135] * 4  # 1.5 times the 90 that are kept of 120
    RCAL(contamination=0.25, target_size_ratio=0.0, local_factor=True).fit(data)
    assert np.bincount(calls[-1]).tolist() == [90, 68, 45, 22]


@pytest.mark.parametrize("local_factor", [False, True])
def test_recovered_means_lie_nearer_the_true_ones(local_factor):
    data, means = blobs((200, 200, 200, 200), apart=4.0)
    noisy = symmetric_noise(data, 0.2, seed=1)
    raw = np.stack([noisy.x[noisy.y == c].mean(0) for c in range(4)])
    got = RCAL(contamination=0.25, local_factor=local_factor).estimate_means(noisy)
    away = [np.linalg.norm(m - means, axis=1).mean() for m in (got, raw)]
    assert away[0] < 0.6 * away[1]


def test_an_unbalanced_set_is_answered_more_evenly():
    data, _ = blobs((400, 60, 20, 8), apart=0.8)
    even, _ = blobs((200, 200, 200, 200), apart=0.8)
    scaled = RCAL(contamination=0.0).fit(data).logits(even.x).argmax(1)
    plain = (
        RCAL(contamination=0.0, borrowed_rows=0.0, target_size_ratio=0.0)
        .fit(data)
        .logits(even.x)
        .argmax(1)
    )
    assert macro_accuracy(even.y, scaled) > macro_accuracy(even.y, plain) + 0.05


def test_units_and_origin_of_the_features_do_not_matter():
    data, _ = blobs()
    shifted = Data(data.x * 8 + 100, data.y, data.classes)
    one, two = (RCAL().fit(d).logits(d.x) for d in (data, shifted))
    np.testing.assert_allclose(softmax(one, axis=1), softmax(two, axis=1), atol=2e-3)
    np.testing.assert_allclose(
        RCAL().estimate_means(shifted), 8 * RCAL().estimate_means(data) + 100, rtol=1e-4
    )


def test_a_class_without_rows_has_no_mean():
    data, _ = blobs()
    part = data.take(data.y != 2)
    got = RCAL().estimate_means(part)
    assert np.isnan(got[2]).all()
    assert np.isfinite(np.delete(got, 2, axis=0)).all()


@pytest.mark.parametrize(
    "fields",
    [
        {"contamination": 1.0},
        {"borrowed_rows": -1.0},
        {"target_size_ratio": float("nan")},
        {"C": 0.0},
    ],
)
def test_fields_out_of_range_are_refused_by_name(fields):
    with pytest.raises(ValueError, match=f"{next(iter(fields))} "):
        RCAL(**fields)


def test_duplicates_do_not_make_other_rows_outliers():
    """30 equal rows, 40 around them and 6 far away: the far ones go, and no other."""
    rng = np.random.default_rng(0)
    near = 0.3 * rng.standard_normal((40, 3))
    far = 6 + 0.1 * rng.standard_normal((6, 3))
    inliers = _drop_outliers(np.concatenate([np.zeros((30, 3)), near, far]), 6 / 76)
    assert len(inliers) == 70
    assert np.abs(inliers).max() < 3
    same = np.ones((5, 3))
    np.testing.assert_array_equal(_drop_outliers(same, 0.4), same)
