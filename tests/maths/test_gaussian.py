"""The closed forms behind the Gaussian methods, against slow float64 twins."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.covariance import oas as scikit_oas
from sklearn.datasets import load_digits

from ilk.maths.covariance import (
    check_shrinkage,
    estimate_covariance,
    kubokawa_srivastava,
    oas_shrinkage,
    shrink_covariance,
    solve,
)
from ilk.maths.gaussian import compute_log_prior, compute_statistics, merge_statistics


def rows(n=3000, d=24, k=5, offset=100.0, seed=0):
    """Float32 rows far from 0 whose classes have unequal counts; class k - 1 has none."""
    rng = np.random.default_rng(seed)
    y = np.minimum(rng.geometric(0.4, n) - 1, k - 2)
    x = (
        offset
        + 5 * rng.standard_normal((k, d))[y]
        + rng.standard_normal((n, d)) @ np.diag(np.linspace(0.2, 2, d))
    )
    return x.astype(np.float32), y, k


def brute(x, y, k):
    """Means and within-class scatter, one row at a time in float64."""
    x = x.astype(np.float64)
    means = np.array(
        [x[y == c].mean(0) if np.any(y == c) else np.zeros(x.shape[1]) for c in range(k)]
    )
    scatter = np.zeros((x.shape[1],) * 2)
    for row, c in zip(x, y, strict=True):
        scatter += np.outer(row - means[c], row - means[c])
    return means, scatter


@pytest.mark.parametrize("offset", [0.0, 100.0, 1e4, 1e6])
def test_statistics_are_those_of_a_slow_loop_even_far_from_zero(offset):
    x, y, k = rows(offset=offset)
    stats = compute_statistics(x, y, k, chunk=701)
    means, scatter = brute(x, y, k)
    np.testing.assert_array_equal(stats.counts, [np.sum(y == c) for c in range(k)])
    np.testing.assert_allclose(stats.means, means, rtol=1e-12, atol=1e-6)
    root = np.sqrt(np.diag(scatter))
    assert np.abs((stats.scatter - scatter) / np.outer(root, root)).max() < 1e-5
    np.testing.assert_allclose(stats.centre, x.mean(0, dtype=np.float64), rtol=1e-6, atol=1e-6)
    assert stats.degrees_of_freedom == len(x) - (k - 1)


def test_the_diagonal_alone_is_the_diagonal():
    x, y, k = rows()
    whole, diagonal = compute_statistics(x, y, k), compute_statistics(x, y, k, diagonal=True)
    np.testing.assert_allclose(diagonal.scatter, np.diag(whole.scatter), rtol=1e-5)


def test_parts_merge_to_the_whole_in_any_order_cut_at_random_or_by_class():
    x, y, k = rows()
    whole = compute_statistics(x, y, k)
    cuts = [np.random.default_rng(1).integers(0, 4, len(y)), y, y % 2]
    for cut in cuts:
        parts = [compute_statistics(x[cut == c], y[cut == c], k) for c in np.unique(cut)]
        for order in (parts, parts[::-1]):
            got = order[0]
            for part in order[1:]:
                got = merge_statistics(got, part)
            np.testing.assert_array_equal(got.counts, whole.counts)
            np.testing.assert_allclose(got.means, whole.means, rtol=1e-7)
            np.testing.assert_allclose(
                got.scatter, whole.scatter, rtol=1e-5, atol=1e-5 * np.trace(whole.scatter) / 24
            )


def test_oas_is_scikit_learns_where_degrees_are_rows():
    x, _, _ = rows(n=60, d=24)
    x = x - x.mean(0)
    y = np.zeros(len(x), int)
    stats = compute_statistics(x, y, 1)
    s = stats.scatter / stats.degrees_of_freedom
    rng = np.random.default_rng(0)
    white = rng.standard_normal((stats.degrees_of_freedom, 24))
    white = np.linalg.qr(white)[0] * np.sqrt(stats.degrees_of_freedom)
    twin = white @ np.linalg.cholesky(s).T  # as many rows as degrees, second moment exactly s
    assert oas_shrinkage(stats) == pytest.approx(
        scikit_oas(twin, assume_centered=True)[1], rel=1e-6
    )
    assert 0 < oas_shrinkage(stats) < 1


def test_the_ridge_precision_is_the_papers_formula():
    x, y, k = rows(n=90)
    stats = compute_statistics(x, y, k)
    means, _ = brute(x, y, k)
    centred = x.astype(np.float64) - means[y]
    s = np.cov(centred.T)  # divides by N - 1; the mean of centred rows is 0
    n, d = x.shape
    precision = d * np.linalg.inv((n - 1) * s + np.trace(s) * np.eye(d))
    np.testing.assert_allclose(np.linalg.inv(kubokawa_srivastava(stats)), precision, rtol=1e-3)
    np.testing.assert_allclose(
        np.linalg.inv(estimate_covariance(stats, "ks")), precision * (n - 1) / d, rtol=1e-3
    )


def test_shrinking_keeps_the_trace_and_ends_in_a_sphere():
    x, y, k = rows(n=200)
    stats = compute_statistics(x, y, k)
    trace = np.trace(stats.scatter) / stats.degrees_of_freedom
    for share in (0.0, 0.3, 1.0):
        assert np.trace(shrink_covariance(stats, share)) == pytest.approx(trace)
    np.testing.assert_allclose(shrink_covariance(stats, 1.0), trace / 24 * np.eye(24))
    np.testing.assert_allclose(estimate_covariance(stats, 0), shrink_covariance(stats, 0.0))
    np.testing.assert_allclose(
        estimate_covariance(stats, "oas"), shrink_covariance(stats, oas_shrinkage(stats))
    )
    np.testing.assert_allclose(estimate_covariance(stats), estimate_covariance(stats, "ks"))


def test_a_covariance_that_is_singular_is_solved_where_it_is_not():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((4, 4))
    s = np.zeros((6, 6))
    s[:4, :4] = root @ root.T + np.eye(4)
    right = np.vstack([rng.standard_normal((4, 2)), np.zeros((2, 2))])
    np.testing.assert_allclose(
        solve(s, right)[:4], np.linalg.solve(s[:4, :4], right[:4]), rtol=1e-6
    )
    assert np.isfinite(solve(np.zeros((3, 3)), np.ones((3, 1)))).all()


def test_priors_are_shares_of_rows_or_of_classes_seen():
    x, y, k = rows()
    stats = compute_statistics(x, y, k)
    np.testing.assert_allclose(
        np.exp(compute_log_prior(stats)), np.bincount(y, minlength=k) / len(y)
    )
    np.testing.assert_allclose(np.exp(compute_log_prior(stats, uniform=True)), [0.25] * 4 + [0])


def test_a_shrinkage_that_is_none_is_refused():
    for good in (None, 0, 0.5, 1.0, "oas", "ks"):
        check_shrinkage(good)
    for bad in (-0.1, 1.5, "lw", float("nan")):
        with pytest.raises(ValueError, match="allowed are 0 to 1, 'oas', 'ks' or None"):
            check_shrinkage(bad)


def test_real_pixels_with_dead_corners():
    x, y = load_digits(return_X_y=True)
    stats = compute_statistics(x.astype(np.float32), y, 10)
    _, scatter = brute(x, y, 10)
    np.testing.assert_allclose(stats.scatter, scatter, atol=1e-5 * scatter.max())


def test_rounding_in_the_scatter_of_single_rows_counts_as_no_scatter():
    x = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    none = replace(compute_statistics(x, np.arange(4), 4), scatter=np.zeros((6, 6)))
    rounding = replace(none, scatter=1e-40 * np.eye(6))
    for shrink in (None, "oas", 1.0):
        np.testing.assert_allclose(
            estimate_covariance(rounding, shrink), estimate_covariance(none, shrink)
        )
