"""Multiple comparisons with the best against closed forms, and on simulated leaderboards."""

import numpy as np
import pytest
from scipy.stats import binom, norm, studentized_range

from ilk.maths import multiple_comparisons
from ilk.maths.multiple_comparisons import (
    remove_worse,
    select_possible_best,
    select_possible_best_of_draws,
)


def draw_board(n_rows, n_candidates, seed, accuracies=0.7, shared=0.6):
    """Return correct or wrong rows `[n, c]` whose normal scores have correlation `shared`."""
    rng = np.random.default_rng(seed)
    common, own = rng.standard_normal((n_rows, 1)), rng.standard_normal((n_rows, n_candidates))
    score = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
    return (score < norm.ppf(accuracies)).astype(float)


def count_boards(n_boards, **arguments):
    """Return on how many boards some candidate is called worse."""
    return sum(
        not select_possible_best(draw_board(seed=seed, **arguments), seed=seed).all()
        for seed in range(n_boards)
    )


@pytest.mark.parametrize("n_candidates", [2, 3, 12])
def test_equal_candidates_are_called_worse_on_one_board_in_twenty(n_candidates):
    n_boards = 200
    worse = count_boards(n_boards, n_rows=120, n_candidates=n_candidates)
    assert worse <= binom.ppf(0.995, n_boards, 0.05)


def test_pairwise_tests_would_call_equal_candidates_worse_on_most_boards(monkeypatch):
    """What the correction is for: the quantile of two candidates, used for twelve."""
    monkeypatch.setattr(
        multiple_comparisons,
        "_find_greatest",
        lambda draws, scale: np.abs(draws[:, 0] - draws[:, 1]) / scale[0, 1],
    )
    assert count_boards(60, n_rows=120, n_candidates=12) > 30


def test_the_critical_value_of_independent_normal_means_is_that_of_tukey():
    """max |x_j - x_k| / s of c independent normal means is the studentized range over root 2."""
    rng = np.random.default_rng(0)
    for c in (2, 5, 12):
        values = rng.standard_normal((400, c))
        gram = np.eye(c) * 400.0  # of independent columns, known
        scale = np.full((c, c), np.sqrt(800.0))
        draws = multiple_comparisons._draw_sums(np.resize(values, (2001, c)), gram, rng)
        found = np.quantile(multiple_comparisons._find_greatest(draws, scale), 0.95)
        assert found == pytest.approx(studentized_range.ppf(0.95, c, np.inf) / np.sqrt(2), abs=0.12)


@pytest.mark.parametrize(("only_a", "only_b"), [(5, 0), (6, 0), (9, 2), (10, 2), (20, 9), (8, 8)])
def test_two_candidates_are_compared_by_mcnemars_mid_p(only_a, only_b):
    """Second derivation: the binomial distribution of the rows on which they differ."""
    values = np.zeros((60, 2))
    values[:only_a, 0] = 1
    values[only_a : only_a + only_b, 1] = 1
    values[30:] = 1
    m, larger = only_a + only_b, max(only_a, only_b)
    mid_p = min(1.0, 2 * binom.sf(larger - 1, m, 0.5) - binom.pmf(larger, m, 0.5))
    assert abs(mid_p - 0.05) > 0.005  # more than the error of 2,000 draws
    assert select_possible_best(values).tolist() == [True, mid_p > 0.05]


def test_signs_and_normal_variables_agree(monkeypatch):
    values = draw_board(1500, 6, seed=3, accuracies=np.array([0.8, 0.8, 0.79, 0.77, 0.7, 0.6]))
    signed = select_possible_best(values)
    monkeypatch.setattr(multiple_comparisons, "MAX_SIGNED", 10)
    np.testing.assert_array_equal(select_possible_best(values), signed)
    assert signed[:3].all()
    assert not signed[4:].any()


def test_a_worse_candidate_is_recognized_and_the_others_are_tested_again():
    """Ten hopeless candidates widen the comparison of the two in front only until they are out."""
    found = 0
    for seed in range(20):
        accuracies = np.array([0.85, 0.78] + [0.3] * 20)
        values = draw_board(400, 22, seed, accuracies, shared=0.5)
        is_left = select_possible_best(values, seed=seed)
        assert is_left[0]
        assert not is_left[2:].any()
        pair = select_possible_best(values[:, :2], seed=seed)
        found += is_left[1] == pair[1]
    assert found >= 19


def test_rows_of_a_group_vary_together():
    """Copies of rows are no further rows."""
    once = draw_board(40, 8, seed=5, accuracies=np.linspace(0.9, 0.6, 8))
    copies, group = np.repeat(once, 10, axis=0), np.repeat(np.arange(40), 10)
    np.testing.assert_array_equal(select_possible_best(copies, group), select_possible_best(once))
    assert select_possible_best(copies).sum() < select_possible_best(once).sum()
    np.testing.assert_array_equal(
        select_possible_best(once, np.full(40, -1)), select_possible_best(once)
    )


def test_groups_without_signal_are_called_worse_on_one_board_in_twenty():
    worse = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(24), 6)
        values = (rng.standard_normal((24, 8))[group] + rng.standard_normal((144, 8)) > 0) * 1.0
        worse += not select_possible_best(values, group, seed).all()
    assert worse <= binom.ppf(0.995, 120, 0.05)


def test_identical_candidates_stay_together_and_one_alone_is_the_best():
    values = draw_board(100, 3, seed=0, accuracies=np.array([0.9, 0.9, 0.4]))
    values[:, 1] = values[:, 0]
    assert select_possible_best(values).tolist() == [True, True, False]
    assert select_possible_best(values[:, :1]).tolist() == [True]
    assert select_possible_best(np.ones((5, 4))).all()
    assert select_possible_best(np.zeros((0, 2))).all()


def test_scores_of_bootstrap_draws_give_the_same_as_rows():
    values = draw_board(500, 6, seed=2, accuracies=np.array([0.8, 0.8, 0.8, 0.72, 0.6, 0.5]))
    rng = np.random.default_rng(0)
    counts = rng.multinomial(500, np.full(500, 1 / 500), size=400)
    draws = (counts @ values / 500).T
    np.testing.assert_array_equal(
        select_possible_best_of_draws(values.mean(0), draws), select_possible_best(values)
    )


def test_the_best_is_never_removed():
    rng = np.random.default_rng(1)
    for _ in range(20):
        values = rng.standard_normal(5)
        scale = rng.uniform(0.1, 3, (5, 5))
        scale = scale + scale.T
        is_left = remove_worse(values, rng.standard_normal((200, 5)), scale)
        assert is_left[values.argmax()]


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_candidate_that_is_not_finite_makes_no_other_one_as_good(value):
    values = np.stack([np.ones(200), np.zeros(200), np.full(200, value)], axis=1)
    assert select_possible_best(values).tolist() == [True, False, False]
    values[1:, 2] = 2
    assert select_possible_best(values).tolist() == [True, False, False]


def test_one_candidate_and_none():
    assert select_possible_best(np.zeros((5, 1))).tolist() == [True]
    assert select_possible_best(np.zeros((5, 0))).tolist() == []
