"""Separable factorization: exact recovery up to order, and anchors against brute force."""

from itertools import combinations, permutations

import numpy as np
import pytest
from scipy.optimize import nnls

from ilk.maths.separable_factorization import factorize_separable, find_anchors


def separable(seed, n=12, m=6, k=4):
    """Proportions `[n, m]` with anchors at random places, and their two factors."""
    rng = np.random.default_rng(seed)
    c = rng.dirichlet(np.ones(k), n)
    c[rng.permutation(n)[:k]] = np.eye(k) * rng.uniform(0.1, 2.0, (k, 1))
    w = rng.dirichlet(np.full(k, 0.7), m).T
    return (c / c.sum(0)) @ w, c / c.sum(0), w


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("steps", [0, 200])
def test_a_separable_matrix_is_recovered_exactly_up_to_order(seed, steps):
    q, c, w = separable(seed)
    found_c, found_w = factorize_separable(q, 4, steps)
    order = min(permutations(range(4)), key=lambda p: np.abs(found_w[list(p)] - w).max())
    np.testing.assert_allclose(found_w[list(order)], w, atol=1e-6)
    np.testing.assert_allclose(found_c[:, list(order)], c, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_anchors_are_the_rows_of_which_all_others_are_mixtures(seed):
    q, _, _ = separable(seed, n=9, m=5, k=3)
    rows = q / q.sum(1, keepdims=True)

    def residual(chosen):
        design = np.vstack([rows[list(chosen)].T, np.ones(3)])
        return sum(nnls(design, np.append(row, 1.0))[1] for row in rows)

    best = min(combinations(range(9), 3), key=residual)
    assert residual(best) < 1e-9
    assert sorted(find_anchors(rows, 3)) == list(best)


def test_the_likelihood_of_noisy_counts_does_not_fall_below_that_of_the_anchors():
    q, _, _ = separable(3)
    rng = np.random.default_rng(0)
    counts = np.stack([rng.multinomial(300, column) for column in q.T], 1) / 300

    def log_likelihood(steps):
        c, w = factorize_separable(counts, 4, steps)
        np.testing.assert_allclose([c.sum(0), w.sum(0)[:4]], 1)
        return float(np.sum(counts * np.log(c @ w)))

    values = [log_likelihood(steps) for steps in (0, 1, 5, 50, 200)]
    assert (np.diff(values) > -1e-9).all()
    assert values[-1] > values[0]


def test_rows_without_counts_and_too_few_directions_give_different_anchors():
    q = np.tile([[0.5], [0.3], [0.2], [0.0]], (1, 3))
    c, w = factorize_separable(q, 3)
    np.testing.assert_allclose(c @ w, q, atol=1e-6)
    assert len(set(find_anchors(q[:3], 3).tolist())) == 3
    with pytest.raises(ValueError, match="3 rows are not 0"):
        factorize_separable(q, 4)


def test_copies_of_an_anchor_are_not_taken_for_other_anchors():
    rows = np.array([[1, 0, 0], [1, 0, 0], [0.98, 0.01, 0.01], [0, 0.6, 0.4], [0, 0.4, 0.6]])
    assert sorted(find_anchors(rows, 3).tolist()) == [0, 3, 4]
