"""The Fréchet distance: closed forms, scipy's matrix root, and what few rows add to it."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import ortho_group

from ilk.core.errors import InputError
from ilk.maths.frechet_distance import (
    FittedGaussian,
    extrapolate_distance,
    frechet_distance,
    split_half_distance,
)


def rows(seed, n=60, d=5, mix=None):
    x = np.random.default_rng(seed).standard_normal((n, d))
    return x if mix is None else x @ mix


def by_matrix_root(x, y):
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    apart = np.sum((x.mean(0) - y.mean(0)) ** 2)
    return apart + np.trace(s + t) - 2 * np.trace(sqrtm(s @ t)).real


def with_moments(mean, covariance, n=50):
    """Rows whose mean and unbiased covariance are exactly these."""
    x = rows(9, n, len(mean))
    x -= x.mean(0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def test_the_same_rows_are_nowhere_apart():
    assert frechet_distance(rows(0), rows(0)) == pytest.approx(0, abs=1e-12)


def test_a_shift_of_the_mean_costs_its_square():
    shift = np.array([3.0, 0, -4, 0, 0])
    assert frechet_distance(rows(0), rows(0) + shift) == pytest.approx(25, rel=1e-12)


def test_one_feature_in_closed_form():
    x, y = rows(0, d=1), 3 * rows(1, d=1) + 2
    told = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet_distance(x, y) == pytest.approx(told, rel=1e-12)


def test_diagonal_and_commuting_covariances_in_closed_form():
    a, b, m = np.array([1.0, 4, 9]), np.array([16.0, 4, 0.25]), np.array([1.0, 2, 3])
    told = np.sum(m**2) + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    turn = ortho_group.rvs(3, random_state=0)
    for q in (np.eye(3), turn):
        x = with_moments(np.zeros(3), q @ np.diag(a) @ q.T)
        y = with_moments(q @ m, q @ np.diag(b) @ q.T)
        assert frechet_distance(x, y) == pytest.approx(told, rel=1e-10)


def test_it_agrees_with_the_matrix_root():
    for seed in range(5):
        mix = np.random.default_rng(50 + seed).standard_normal((2, 5, 5))
        x, y = rows(seed, 40, 5, mix[0]), rows(seed + 10, 70, 5, mix[1]) + 1
        assert frechet_distance(x, y) == pytest.approx(by_matrix_root(x, y), rel=1e-9)


def test_order_rotation_and_sides_do_not_matter_and_scale_is_squared():
    x, y, turn = rows(0), 2 * rows(1) + 1, ortho_group.rvs(5, random_state=1)
    d = frechet_distance(x, y)
    assert frechet_distance(y, x) == pytest.approx(d, rel=1e-12)
    assert frechet_distance(x @ turn, y @ turn) == pytest.approx(d, rel=1e-12)
    assert frechet_distance(x[::-1], y) == pytest.approx(d, rel=1e-12)
    assert frechet_distance(3 * x, 3 * y) == pytest.approx(9 * d, rel=1e-12)


def test_singular_covariances_are_right_to_the_last_digits():
    flat = np.array([[1.0, 2, 3, 4, 5], [0, 1, 0, -1, 0]])
    x, y = rows(0, 30, 2) @ flat, rows(1, 30, 2) @ flat  # both in one plane, as 2 features
    q = np.linalg.qr(flat.T)[0]
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(x @ q, y @ q), rel=1e-12)
    few, wide = rows(2, 4, 30), rows(3, 6, 30)  # fewer rows than features
    basis = np.linalg.qr(np.vstack([few, wide]).T)[0]
    inside = frechet_distance(few @ basis, wide @ basis)
    assert frechet_distance(few, wide) == pytest.approx(inside, rel=1e-12)
    assert frechet_distance(few, few + 0) == pytest.approx(0, abs=1e-11)


def test_a_constant_beside_a_cloud_is_its_mean_square():
    x, y = np.full((5, 3), 2.0), rows(0, d=3)
    told = np.sum((y.mean(0) - 2) ** 2) + y.var(0, ddof=1).sum()
    assert frechet_distance(x, y) == pytest.approx(told, rel=1e-12)


def test_extrapolated_takes_off_what_few_rows_add():
    shift, sets = np.full(8, 0.1), range(60)
    pairs = [(rows(s, 120, 8), rows(1000 + s, 120, 8)) for s in sets]
    for truth, move in ((0.0, 0 * shift), (0.08, shift)):
        plain = np.array([frechet_distance(x, y + move) for x, y in pairs])
        better = np.array([extrapolate_distance(x, y + move) for x, y in pairs])
        error = better.std(ddof=1) / np.sqrt(len(sets))
        assert plain.mean() - truth > 0.15
        assert abs(better.mean() - truth) < 4 * error + 0.02
        assert error < 0.02


def test_the_floor_is_what_chance_alone_gives():
    x = rows(0, 400, 6)
    same = np.mean([frechet_distance(rows(s, 200, 6), rows(s + 500, 200, 6)) for s in range(1, 20)])
    assert split_half_distance(x, n_splits=20) == pytest.approx(same, rel=0.25)
    assert split_half_distance(x) == split_half_distance(x) != split_half_distance(x, seed=1)
    assert frechet_distance(x[:200], x[200:] + 1) > 5 * split_half_distance(x)


def test_float32_features_are_judged_in_float64():
    x = (rows(0) + 1000).astype(np.float32)
    y = (rows(1) + 1000).astype(np.float32)
    told = by_matrix_root(x.astype(float) - 1000, y.astype(float) - 1000)
    assert frechet_distance(x, y) == pytest.approx(told, rel=1e-7)


@pytest.mark.parametrize(
    ("x", "y", "told"),
    [
        (np.zeros((1, 3)), rows(0, d=3), r"shape \(1, 3\) have no spread"),
        (np.zeros(7), rows(0), r"shape \(7,\) have no spread"),
        (rows(0, d=3), rows(0, d=4), "of width 3 and 4 cannot be compared"),
        (np.where(rows(0) > 2, np.nan, rows(0)), rows(0), "of 60 rows of features hold a number"),
    ],
)
def test_what_cannot_be_compared_is_refused(x, y, told):
    with pytest.raises(InputError, match=told):
        frechet_distance(x, y)


def test_too_few_rows_for_a_line_or_a_half_are_refused():
    with pytest.raises(InputError, match="parts of 5 rows are too few for 5 features"):
        extrapolate_distance(rows(0, 20), rows(1, 20))
    with pytest.raises(InputError, match="max_parts is 1"):
        extrapolate_distance(rows(0), rows(1), max_parts=1)
    with pytest.raises(InputError, match="3 rows cannot be halved"):
        split_half_distance(rows(0, 3))


def test_a_gaussian_is_kept_to_compare_many_with_it():
    real = FittedGaussian.fit(rows(0))
    np.testing.assert_allclose(
        real.covariance_root.T @ real.covariance_root, np.cov(rows(0), rowvar=False), atol=1e-12
    )
    assert real.squared_distance(FittedGaussian.fit(rows(1))) == frechet_distance(rows(0), rows(1))
