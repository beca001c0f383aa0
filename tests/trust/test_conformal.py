"""Conformal sets: coverage counted over many draws, ties, and too few rows."""

import numpy as np
import pytest

from ilk.core import metrics
from ilk.core.errors import InputError
from ilk.protocols import stratified_folds
from ilk.trust.conformal import ConformalPredictor, CoverageReport, cross_conformal_sets

K = 4


def sample_probabilities(rng, n, sharp=2.0):
    """Probabilities that are off (twice too sharp) and labels: only exchangeability holds."""
    z = rng.normal(size=(n, K)) * sharp
    p = metrics.softmax(z, 1)
    y = (rng.random((n, 1)) > p.cumsum(1)).sum(1).clip(max=K - 1)
    return metrics.softmax(2 * z, 1), y


def mean_coverage(n, level, draws, sharp=2.0, seed=0):
    rng = np.random.default_rng(seed)
    got = []
    for _ in range(draws):
        sets = ConformalPredictor.fit(*sample_probabilities(rng, n, sharp), level)
        p, y = sample_probabilities(rng, 100, sharp)
        got.append(CoverageReport.from_sets(sets.contains(p), y).coverage.value)
    return float(np.mean(got)), float(np.std(got) / np.sqrt(draws))


@pytest.mark.parametrize(("n", "level"), [(19, 0.9), (25, 0.8), (39, 0.95), (200, 0.5)])
def test_coverage_lies_between_the_level_and_one_row_more(n, level):
    """`level <= coverage < level + 1 / (n + 1)` on average over calibration rows and new rows.

    With n for n + 1 the threshold is one rank off and the mean leaves that range.
    """
    mean, error = mean_coverage(n, level, draws=3000)
    expected = np.ceil(round((n + 1) * level, 9)) / (n + 1)
    assert mean == pytest.approx(expected, abs=4 * error)
    assert level - 4 * error <= mean <= level + 1 / (n + 1) + 4 * error


def test_sets_go_empty_rather_than_cover_more_than_asked():
    """A classifier right far more often than asked: coverage is kept by abstaining."""
    mean, _ = mean_coverage(400, 0.9, draws=300, sharp=12.0)
    assert mean == pytest.approx(0.9, abs=0.01)
    rng = np.random.default_rng(0)
    sets = ConformalPredictor.fit(*sample_probabilities(rng, 4000, 12.0), 0.9)
    p, y = sample_probabilities(rng, 4000, 12.0)
    got = CoverageReport.from_sets(sets.contains(p), y)
    assert metrics.accuracy(y, p.argmax(1)).value > 0.92
    assert got.empty_fraction > 0.02
    assert got.singleton_fraction + got.empty_fraction > 0.99


def test_threshold_is_the_rank_from_the_definition():
    p_true = np.arange(1, 20) / 20
    p = np.stack([p_true, 1 - p_true], 1)
    sets = ConformalPredictor.fit(p, np.zeros(19, int), 0.9)
    assert sets.threshold == pytest.approx(0.1)  # second smallest: floor(20 * 0.1) = 2
    assert sets.contains(np.array([[0.1, 0.9], [0.0999, 0.9001]])).tolist() == [
        [True, True],
        [False, True],
    ]


@pytest.mark.parametrize(("level", "needed"), [(0.9, 9), (0.95, 19), (0.99, 99), (0.5, 1)])
def test_too_few_rows_take_every_class_and_say_so(level, needed):
    rng = np.random.default_rng(0)
    p, y = sample_probabilities(rng, needed)
    few = ConformalPredictor.fit(p[:-1], y[:-1], level)
    assert few.contains(p).all()
    assert f"needs {needed} labelled images" in few.note
    enough = ConformalPredictor.fit(p, y, level)
    assert enough.note == ""
    assert enough.threshold > 0


def test_ties_overshoot_and_a_tie_breaker_cures_it():
    """Votes of neighbours: 97 rows in 100 have the same probability."""
    rng = np.random.default_rng(0)

    def sample_votes(n):
        sure = rng.random(n) < 0.97
        p = np.where(sure[:, None], [0.98, 0.02], [0.6, 0.4])
        return p, (rng.random(n) > p[:, 0]).astype(int), rng.random(n)

    p, y, distance = sample_votes(5000)
    new, truth, new_distance = sample_votes(5000)
    blunt, fine = ConformalPredictor.fit(p, y, 0.9), ConformalPredictor.fit(p, y, 0.9, distance)
    assert CoverageReport.from_sets(blunt.contains(new, new_distance), truth).coverage.value > 0.94
    cut = fine.contains(new, new_distance)
    assert CoverageReport.from_sets(cut, truth).coverage.value == pytest.approx(0.9, abs=0.015)
    kept, lost = cut[:, 0] & (new[:, 0] > 0.9), ~cut[:, 0] & (new[:, 0] > 0.9)
    assert new_distance[kept].max() <= new_distance[lost].min()
    assert (fine.contains(new) >= cut).all()  # without the tie-breaker every tie stays


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_folds_that_are_sure_in_their_own_way_do_not_move_the_coverage(level):
    """Five nearest neighbours in one fold, three in the next: the same votes, another share.

    The final model is like one of them. Ordered by probability alone, it covers far too much or
    too little; ordered by distance among the sure, it covers what was asked.
    """
    rng = np.random.default_rng(0)

    def sample_votes(n, sure):
        certain = rng.random(n) < 0.97
        p = np.where(certain[:, None], np.stack([sure, 1 - sure], 1), [0.6, 0.4])
        return p, (rng.random(n) > np.where(certain, 0.99, 0.6)).astype(int), rng.random(n)

    p, y, distance = sample_votes(5000, rng.choice([0.97, 0.98, 0.99], 5000))
    new, truth, new_distance = sample_votes(5000, np.full(5000, 0.97))
    apart = CoverageReport.from_sets(
        ConformalPredictor.fit(p, y, level).contains(new), truth
    ).coverage.value
    assert abs(apart - level) > 0.05
    near = ConformalPredictor.fit(p, y, level, distance).contains(new, new_distance)
    assert CoverageReport.from_sets(near, truth).coverage.value == pytest.approx(level, abs=0.015)


def test_cross_fitted_sets_cover_and_do_not_see_their_own_rows():
    rng = np.random.default_rng(3)
    p, y = sample_probabilities(rng, 2000)
    fold = stratified_folds(y, 5, 0)
    fold[:10] = -1
    sets = cross_conformal_sets(p, y, fold, 0.9)
    assert CoverageReport.from_sets(sets[10:], y[10:]).coverage.value == pytest.approx(
        0.9, abs=0.02
    )
    assert not sets[:10].any()
    here = fold == 2
    by_hand = ConformalPredictor.fit(p[~here & (fold >= 0)], y[~here & (fold >= 0)], 0.9).contains(
        p[here]
    )
    np.testing.assert_array_equal(sets[here], by_hand)


def test_calibrating_in_sample_covers_too_little():
    """Why rows must be held out: a classifier that memorised its rows is surer of them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 50))
    y = (x[:, 0] + rng.normal(size=200) > 0).astype(int)
    weight = np.linalg.lstsq(x[:100], 2.0 * y[:100] - 1, rcond=None)[0]

    def p(rows):
        return metrics.softmax(np.stack([-x[rows] @ weight, x[rows] @ weight], 1) * 3, 1)

    fitted, fresh = np.arange(100), np.arange(100, 200)
    within = ConformalPredictor.fit(p(fitted), y[fitted], 0.9).contains(p(fresh))
    assert CoverageReport.from_sets(within, y[fresh]).coverage.high < 0.9
    order = rng.permutation(fresh)
    held = ConformalPredictor.fit(p(order[:50]), y[order[:50]], 0.9).contains(p(order[50:]))
    assert CoverageReport.from_sets(held, y[order[50:]]).coverage.high > 0.9


@pytest.mark.parametrize("level", [0, 1, 90, -0.1])
def test_levels_outside_the_unit_interval_are_rejected(level):
    with pytest.raises(InputError, match=f"the coverage is {level}"):
        ConformalPredictor.fit(np.ones((3, 1)), np.zeros(3, int), level)


def test_coverage_is_counted():
    members = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 0], [0, 1, 1]], bool)
    got = CoverageReport.from_sets(members, np.array([0, 0, 2, 2]))
    assert got.coverage.value == 0.5
    assert (got.mean_size, got.empty_fraction, got.singleton_fraction) == (1.25, 0.25, 0.25)
    assert np.isnan(CoverageReport.from_sets(members[:0], np.zeros(0, int)).mean_size)


def test_sets_cover_new_groups_with_one_vote_per_group() -> None:
    """Rows of a group are covered or missed together; the threshold counts groups."""
    rng, covered, naive = np.random.default_rng(4), [], []
    for _ in range(400):
        group = np.repeat(np.arange(25), 6)
        easy = rng.normal(1.5, 1.5, 25)[group] + 0.2 * rng.normal(size=len(group))
        p = 1 / (1 + np.exp(-np.column_stack([easy, -easy])))
        old, new, y = slice(0, 144), slice(144, 150), np.zeros(150, int)
        sets = ConformalPredictor.fit(p[old], y[old], 0.9, groups=group[old])
        covered.append(sets.contains(p[new])[:, 0].mean())
        apart = ConformalPredictor.fit(p[old], y[old], 0.9)
        naive.append(apart.contains(p[new])[:, 0].mean())
    assert sets.n_groups == 24
    assert np.mean(covered) > 0.9 - 2 * np.std(covered) / 20
    assert np.mean(covered) < 0.97
    assert np.mean(naive) < np.mean(covered)
    few = ConformalPredictor.fit(p[:48], y[:48], 0.9, groups=group[:48])
    assert few.threshold == 0
    assert "needs 9 groups of labelled images that can be held out and there are 8" in few.note
    alone = ConformalPredictor.fit(p[old], y[old], 0.9, groups=np.full(144, -1))
    assert (alone.threshold, alone.n_groups) == (apart.threshold, 0)
