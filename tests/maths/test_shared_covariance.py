"""The covariance in the space of the rows, against that in the space of the features."""

import numpy as np
import pytest

from ilk.core.linear_models import Linear
from ilk.core.statistics import Statistics
from ilk.maths.covariance import compute_covariance_terms, estimate_covariance
from ilk.maths.gaussian import compute_log_prior, fit_discriminant
from ilk.maths.row_discriminant import fit_rows_discriminant
from ilk.maths.shared_covariance import SharedCovariance, compute_smaller_statistics


def rows(n=60, d=150, k=4, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(k, size=n)
    y[y == 2] = 1  # a class without rows
    x = 5 + rng.normal(size=(k, d))[y] + rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / 10
    return x.astype(np.float32), y, k


def exact_statistics(x, y, k, weight):
    """Counts, means and the full scatter in float64, class by class."""
    weight = np.ones(len(x)) if weight is None else weight
    x, counts = x.astype(float), np.bincount(y, weight, minlength=k)
    means = np.stack([weight[y == c] @ x[y == c] / max(counts[c], 1) for c in range(k)])
    return Statistics(counts, means, ((x - means[y]) * weight[:, None]).T @ (x - means[y]))


def weights_of(n, weighted):
    return np.random.default_rng(1).integers(1, 4, n) / 2.0 if weighted else None


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shrink", [None, "oas", 0.5, 0.01])
def test_distances_and_solutions_are_those_of_the_inverse(shrink, weighted):
    (x, y, k), new = rows(), rows(seed=1)[0]
    weight = weights_of(len(x), weighted)
    stats, z = compute_smaller_statistics(x, y, k, weight)
    assert z.shape == x.shape
    got = SharedCovariance.from_statistics(stats, shrink, z)
    full = exact_statistics(x, y, k, weight)
    np.testing.assert_allclose(
        compute_covariance_terms(stats, shrink, 150), compute_covariance_terms(full, shrink), 1e-9
    )
    inverse = np.linalg.inv(estimate_covariance(full, shrink))
    means = full.means[full.present]
    want = [min((row - m) @ inverse @ (row - m) for m in means) for row in new.astype(float)]
    np.testing.assert_allclose(got.compute_nearest_distances(new), want, rtol=1e-7)
    right = np.random.default_rng(2).normal(size=(150, 3))
    np.testing.assert_allclose(got.solve(right), inverse @ right, atol=1e-7 * np.abs(inverse).max())


def test_with_more_rows_than_features_the_covariance_itself_is_factored():
    (x, y, k), new = rows(n=400, d=12), rows(d=12, seed=1)[0].astype(float)
    stats, z = compute_smaller_statistics(x, y, k)
    assert z is None
    got = SharedCovariance.from_statistics(stats, 0.3)
    inverse = np.linalg.inv(estimate_covariance(stats, 0.3))
    want = [min((row - m) @ inverse @ (row - m) for m in stats.means[stats.present]) for row in new]
    np.testing.assert_allclose(got.compute_nearest_distances(new), want, rtol=1e-9)
    np.testing.assert_allclose(got.solve(np.eye(12)), inverse, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shrink", [None, "oas", 0.5])
def test_a_discriminant_of_few_rows_is_that_of_the_full_covariance(shrink, weighted):
    (x, y, k), new = rows(), rows(seed=1)[0]
    weight = weights_of(len(x), weighted)
    stats = exact_statistics(x, y, k, weight)
    covariance = estimate_covariance(stats, shrink)
    rule = fit_discriminant(stats, covariance, compute_log_prior(stats))
    want = Linear.from_centred(stats.centre, *rule).logits(new)
    got = fit_rows_discriminant(x, y, k, shrink, weight=weight).logits(new)
    present = stats.present
    spread = np.abs(want[:, present]).mean()
    np.testing.assert_allclose(got[:, present], want[:, present], atol=2e-6 * spread)
    assert np.isneginf(got[:, ~present]).all()


def test_rows_that_are_equal_within_their_class_do_not_divide_by_zero():
    x = np.repeat(np.eye(3, 8, dtype=np.float32), 2, 0)
    logits = fit_rows_discriminant(x, np.repeat(np.arange(3), 2), 3).logits(x)
    np.testing.assert_array_equal(logits.argmax(1), np.repeat(np.arange(3), 2))


def test_without_shrinkage_the_rows_are_fitted_in_their_span():
    x, y, k = rows()
    np.testing.assert_array_equal(fit_rows_discriminant(x, y, k, 0.0).logits(x).argmax(1), y)
