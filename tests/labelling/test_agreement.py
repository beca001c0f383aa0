"""Cohen's kappa and its interval, against scikit-learn and a second derivation."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from ilk.labelling.agreement import _compute_variance, estimate_kappa, measure_agreement


def draw_pair(rng, n, k, agree):
    first = rng.integers(0, k, n)
    second = np.where(rng.random(n) < agree, first, rng.integers(0, k, n))
    return [str(c) for c in first], [str(c) for c in second]


@pytest.mark.parametrize("k", [2, 5])
def test_kappa_is_that_of_scikit_learn(k):
    rng = np.random.default_rng(k)
    for _ in range(5):
        first, second = draw_pair(rng, 40, k, 0.6)
        result = measure_agreement(("a", "b"), first, second)
        assert result.kappa.value == pytest.approx(cohen_kappa_score(first, second))
        assert result.observed == np.mean(np.array(first) == np.array(second))
        assert result.kappa.low < result.kappa.value < result.kappa.high


def test_variance_is_that_of_the_delta_method():
    """Second derivation: numeric gradient of kappa, and the covariance of a multinomial."""
    rng = np.random.default_rng(3)
    p = rng.dirichlet(np.ones(9)).reshape(3, 3)

    def kappa(cells):
        q = cells.reshape(3, 3)
        expected = q.sum(1) @ q.sum(0)
        return (np.trace(q) - expected) / (1 - expected)

    flat, step = p.ravel(), 1e-6
    gradient = np.array(
        [(kappa(flat + step * e) - kappa(flat - step * e)) / (2 * step) for e in np.eye(9)]
    )
    covariance = np.diag(flat) - np.outer(flat, flat)
    rows, columns = p.sum(1), p.sum(0)
    variance = _compute_variance(p, rows, columns, float(np.trace(p)), float(rows @ columns))
    assert variance == pytest.approx(gradient @ covariance @ gradient, rel=1e-5)


@pytest.mark.parametrize("agree", [0.7, 0.95])
def test_interval_holds_the_true_kappa(agree):
    rng = np.random.default_rng(7)
    k, n, held = 4, 40, 0
    for _ in range(300):  # the true kappa of this model is `agree`
        first, second = draw_pair(rng, n, k, agree)
        interval = measure_agreement(("a", "b"), first, second).kappa
        held += interval.low <= agree <= interval.high
    assert held >= 0.92 * 300


def test_corner_cases():
    perfect = measure_agreement(("a", "b"), ["x", "y"] * 10, ["x", "y"] * 10).kappa
    assert perfect.value == 1 == perfect.high
    assert perfect.low < 0.8
    same = measure_agreement(("a", "b"), ["x"] * 5, ["x"] * 5).kappa
    assert np.isnan(same.value)
    assert (same.low, same.high) == (-1, 1)
    assert estimate_kappa(np.array([[0.0, 5], [5, 0]])).value == -1
    one = measure_agreement(("a", "b"), ["x"], ["y"]).kappa
    assert one.low <= one.value <= one.high
