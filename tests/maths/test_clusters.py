"""Means of rows that vary together in groups."""

from __future__ import annotations

import numpy as np
import pytest

from ilk.core.metrics import wilson_interval
from ilk.maths.clusters import (
    compare_means,
    compute_interval,
    compute_mean_p_value,
    compute_variance,
    count_effective_pairs,
    iterate_draws,
)
from ilk.maths.conformal_quantile import compute_votes, find_conformal_quantile


def draw_groups(
    rng: np.random.Generator, n_groups: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows that are right or wrong together: the rate of a group is Beta(1.4, 0.6)."""
    rate = rng.beta(1.4, 0.6, n_groups)
    group = np.repeat(np.arange(n_groups), size)
    return rng.random(len(group)) < rate[group], group


@pytest.mark.parametrize("n_groups", [8, 40])
def test_the_interval_covers_the_rate_of_new_groups(n_groups: int) -> None:
    rng, hits, naive = np.random.default_rng(0), 0, 0
    for _ in range(400):
        is_correct, group = draw_groups(rng, n_groups, 10)
        interval, apart = compute_interval(is_correct, group), compute_interval(is_correct)
        hits += interval.low <= 0.7 <= interval.high
        naive += apart.low <= 0.7 <= apart.high
    assert 0.92 < hits / 400 <= 1
    assert naive / 400 < 0.75


def test_the_variance_is_that_of_the_definition() -> None:
    values, group = np.array([1.0, 0, 1, 1, 0]), np.array([3, 3, 7, -1, -1])
    sums = np.array([1 + 0 - 1.2, 1 - 0.6, 1 - 0.6, 0 - 0.6])
    assert compute_variance(values, group) == pytest.approx(4 / 3 * np.sum(sums**2) / 25)
    assert compute_variance(values, np.zeros(5, int)) == np.inf
    single = compute_interval(values, np.zeros(5, int))
    assert single.low < 0.1
    assert single.high > 0.9


def test_equal_outcomes_count_once_per_group() -> None:
    perfect = compute_interval(np.ones(60), np.arange(60) // 6)
    assert (perfect.low, perfect.high) == (wilson_interval(10, 10).low, 1.0)
    assert compute_interval(np.ones(60)).low == wilson_interval(60, 60).low


def test_copies_of_a_row_are_no_evidence() -> None:
    rng, few = np.random.default_rng(1), 0
    for _ in range(300):
        gains = rng.normal(size=12).repeat(20)
        p_value = compute_mean_p_value(gains, np.arange(12).repeat(20))
        few += p_value < 0.05
        assert compute_mean_p_value(gains) <= p_value + 1e-9
    assert few / 300 < 0.09
    assert compute_mean_p_value(np.ones(4), np.zeros(4, int)) == 1.0
    assert compute_mean_p_value(np.zeros(4), np.arange(4)) == 1.0


def test_whole_groups_are_drawn() -> None:
    group = np.array([0, 0, 1, -1, -1, 1])
    for counts in iterate_draws(6, 50, np.random.default_rng(0), group):
        assert counts[0] == counts[1]
        assert counts[2] == counts[5]
        assert counts[[0, 2, 3, 4]].sum() == 4


def test_a_new_group_exceeds_the_quantile_as_rarely_as_stated() -> None:
    rng = np.random.default_rng(2)
    by_group, by_row = [], []
    for _ in range(600):
        group = np.repeat(np.arange(24), rng.integers(1, 9, 24))
        level = rng.normal(size=25)
        scores = level[group] + 0.1 * rng.normal(size=len(group))
        new = level[24] + 0.1 * rng.normal()
        votes = compute_votes(group, len(group))
        assert votes.sum() == pytest.approx(24)
        limit = find_conformal_quantile(scores, 0.9, votes)
        assert limit is not None
        by_group.append(new > limit)
        by_row.append(new > find_conformal_quantile(scores, 0.9, compute_votes(None, len(group))))
    assert np.mean(by_group) < 0.1 + 2 * np.sqrt(0.09 / 600)
    assert np.mean(by_row) > np.mean(by_group)
    assert find_conformal_quantile(np.arange(8.0), 0.9, np.ones(8)) is None
    assert find_conformal_quantile(np.arange(9.0), 0.9, np.ones(9)) == 8.0
    assert find_conformal_quantile(np.arange(18.0), 0.9, np.full(18, 0.5)) == 17.0
    assert find_conformal_quantile(np.arange(16.0), 0.9, np.full(16, 0.5)) is None


def test_the_interval_of_a_paired_difference_is_never_surer_than_one_row():
    right = np.ones(50)
    same = compare_means(right, right)
    assert same.value == 0
    assert same.high == pytest.approx(1.96 / (50 * 2**0.5))


def test_the_interval_of_a_paired_difference_widens_with_groups():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(40), 10)
    first = np.repeat(rng.random(40) < 0.8, 10).astype(float)  # groups are right or wrong together
    second = (rng.random(400) < 0.7).astype(float)
    alone, together = compare_means(first, second), compare_means(first, second, groups)
    assert alone.value == together.value == pytest.approx(float((first - second).mean()))
    error = float((first - second).std(ddof=1)) / 20
    assert alone.high - alone.value == pytest.approx(1.96 * error, rel=1e-3)
    assert together.high - together.value > 1.5 * (alone.high - alone.value)


def test_the_interval_of_a_paired_difference_covers_that_of_new_groups_also_where_they_are_few():
    rng, hits = np.random.default_rng(0), 0
    group = np.repeat(np.arange(5), 8)
    for _ in range(500):
        gain = 0.3 + rng.normal(size=5)[group] + 0.3 * rng.normal(size=40)
        interval = compare_means(gain, np.zeros(40), group)
        hits += interval.low <= 0.3 <= interval.high
    assert hits / 500 > 0.92  # with the quantile of the normal law, 0.87


def test_a_single_group_says_nothing_of_others():
    rng = np.random.default_rng(0)
    one = np.zeros(20, int)
    gain = compare_means(rng.normal(size=20), np.zeros(20), one)
    assert (gain.low, gain.high) == (-np.inf, np.inf)
    assert gain.to_json() == {"value": gain.value, "low": None, "high": None, "level": 0.95}
    right = compare_means((rng.random(20) < 0.9).astype(float), np.ones(20), one)
    assert (right.low, right.high) == (-1, 1)


def test_effective_pairs():
    rng = np.random.default_rng(0)
    differences = rng.choice([-1, 0, 1], 50, p=[0.1, 0.6, 0.3])
    assert count_effective_pairs(differences, np.full(50, -1)) == 50
    copies = count_effective_pairs(np.repeat(differences, 4), np.repeat(np.arange(50), 4))
    assert 45 < copies < 50  # Student's quantile takes a little
    assert count_effective_pairs(np.zeros(40), np.arange(40) // 4) == 10
    assert count_effective_pairs(differences, np.zeros(50, int)) == 1
    opposed = count_effective_pairs(np.tile([1, -1], 20), np.arange(40) // 2)
    assert opposed == 40  # never more than there are
