"""The tail of wrong matches is found although right ones hide among the scores."""

from __future__ import annotations

import numpy as np
import pytest

from ilk.maths.pareto_tail import fit_tail


def draw(seed: int, n: int, n_right: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    wrong = rng.exponential(1.0, n)
    right, known = rng.normal(9, 1.5, n_right), rng.normal(9, 1.5, 300)
    return wrong, np.concatenate([wrong, right]), known


@pytest.mark.parametrize("n_right", [0, 40, 400])
def test_expected_number_is_that_of_wrong_matches(n_right):
    ratios = []
    for seed in range(8):
        _, scores, known = draw(seed, 2000, n_right)
        tail = fit_tail(scores, known, start=1.5)
        ratios.append(tail.count_above(4.0) / (2000 * np.exp(-4.0)))
    assert 0.7 < np.mean(ratios) < 1.6


def test_right_matches_do_not_raise_the_threshold():
    _, scores, known = draw(0, 2000, 400)
    tail = fit_tail(scores, known, start=1.5)
    assert np.log(2000) - 1 < tail.find_threshold(1.0) < np.log(2000) + 3.5
    assert tail.count_above(tail.find_threshold(1.0)) == pytest.approx(1.0, rel=1e-3)


def test_a_bounded_law_ends_earlier_than_an_exponential_one():
    rng = np.random.default_rng(0)
    bounded = 2 * (1 - rng.random(3000) ** 0.3)  # shape -0.3
    thresholds = [
        fit_tail(x, np.array([50.0, 51.0]), 0.5).find_threshold(0.1)
        for x in (bounded, rng.exponential(0.6, 3000))
    ]
    assert thresholds[0] < 3 < thresholds[1]


def test_fewer_false_matches_need_a_higher_threshold():
    _, scores, known = draw(1, 500, 10)
    tail = fit_tail(scores, known, start=1.5)
    thresholds = [tail.find_threshold(e) for e in (100, 10, 1, 0.1, 0.01)]
    assert thresholds == sorted(thresholds)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_scores(n):
    tail = fit_tail(np.full(n, 2.0), np.array([5.0, 6.0]), start=1.0)
    assert np.isfinite(tail.find_threshold(0.5))
    assert tail.count == n
