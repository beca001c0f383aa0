"""Shapley values against their definition, summed over all orders of joining."""

from itertools import permutations
from math import factorial

import numpy as np
import pytest

from ilk.explain.shapley import compute_shapley, draw_coalitions, list_coalitions


def make_game(d, seed=0):
    """A game with interactions of two and three parts."""
    rng = np.random.default_rng(seed)
    linear, pairs = rng.normal(size=d), rng.normal(size=(d, d))

    def score(coalitions):
        z = np.asarray(coalitions, np.float64)
        triple = z[:, 0] * z[:, 1] * z[:, 2]
        return 0.3 + z @ linear + ((z @ pairs) * z).sum(1) + 2 * triple

    return score


def sum_over_orders(score, d):
    gains = np.zeros(d)
    for order in permutations(range(d)):
        coalitions = np.zeros((d + 1, d), bool)
        for i, part in enumerate(order):
            coalitions[i + 1 :, part] = True
        gains[list(order)] += np.diff(score(coalitions))
    return gains / factorial(d)


@pytest.mark.parametrize("d", [3, 4, 6])
def test_all_coalitions_give_the_definition(d):
    score = make_game(d)
    found = compute_shapley(score, d, n_coalitions=2**d)
    np.testing.assert_allclose(found, sum_over_orders(score, d), atol=1e-6)


def test_drawn_coalitions_come_near_and_add_up():
    score, d = make_game(7), 7
    exact = sum_over_orders(score, d)
    found = compute_shapley(score, d, n_coalitions=100, seed=3)
    ends = score(np.stack([np.zeros(d, bool), np.ones(d, bool)]))
    assert found.sum() == pytest.approx(ends[1] - ends[0])
    assert np.abs(found - exact).max() < 0.25 * np.abs(exact).max()
    errors = [
        np.abs(compute_shapley(score, d, n_coalitions=60, seed=s) - exact).max() for s in range(30)
    ]
    assert np.mean(errors) < 0.5 * np.abs(exact).max()


def test_a_part_that_does_nothing_gets_nothing_and_equal_parts_get_the_same():
    def score(z):
        z = np.asarray(z, float)
        return np.maximum(z[:, 0], z[:, 1])  # either is enough; the third does nothing

    found = compute_shapley(score, 3, 10)
    np.testing.assert_allclose(found, [0.5, 0.5, 0.0], atol=1e-7)


def test_one_part_and_many_parts():
    np.testing.assert_allclose(compute_shapley(lambda z: 2.0 * z[:, 0] + 1, 1), [2.0])
    linear = np.arange(64.0)
    found = compute_shapley(lambda z: np.asarray(z, float) @ linear, 64, 300)
    np.testing.assert_allclose(found, linear, atol=1e-5)


def test_fewer_coalitions_than_parts_still_add_up():
    linear = np.ones(64)
    found = compute_shapley(lambda z: np.asarray(z, float) @ linear, 64, 20)
    assert found.sum() == pytest.approx(64, rel=1e-6)


def test_weights_and_draws_agree():
    coalitions, weight = list_coalitions(5)
    drawn, _ = draw_coalitions(5, 40_000, 0)
    share = np.array([weight[coalitions.sum(1) == s].sum() for s in range(1, 5)])
    found = np.bincount(drawn.sum(1), minlength=5)[1:] / len(drawn)
    np.testing.assert_allclose(found, share / share.sum(), atol=0.01)
    assert np.array_equal(drawn[: len(drawn) // 2], ~drawn[len(drawn) // 2 :])
    np.testing.assert_allclose(drawn.mean(0), 0.5)
