"""Simulated leaderboards: correct or wrong rows of candidates whose true accuracies are known.

The votes of candidates are correlated as thresholds of normal scores that share a part: row i of
candidate j is correct where sqrt(r) s_i + sqrt(1 - r) e_ij lies below the quantile of its accuracy.
Rows of a group share `GROUP_PART` of both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.runner import summarize
from ilk.core.data import Labels
from ilk.core.metrics import Interval, wilson_interval
from ilk.fitting.selection_statistics import (
    Outcomes,
    compute_p_value,
    compute_row_values,
    estimate_corrected_accuracy,
    find_tied,
)
from ilk.maths.clusters import compute_interval, iterate_draws

ACCURACY, N_CLASSES, GROUP_PART = 0.8, 3, 0.5
RULES = ("pairwise tests", "pairwise tests, Bonferroni", "ilk")


@dataclass(frozen=True)
class World:
    """A kind of leaderboard.

    Attributes:
        candidates: Number of candidates.
        rows: Number of rows.
        shared: Correlation of the normal scores of two candidates.
        gap: How much less accurate a third of the candidates are; 0 for none.
        criterion: What the candidates are compared by.
        group_size: Rows per group, which vary together.
    """

    candidates: int
    rows: int
    shared: float = 0.6
    gap: float = 0.0
    criterion: str = "accuracy"
    group_size: int = 1

    @property
    def accuracies(self) -> NDArray[np.float64]:
        """True accuracy of each candidate."""
        is_worse = np.arange(self.candidates) % 3 == 2
        return np.where(is_worse, ACCURACY - self.gap, ACCURACY)


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """Outcomes of candidates on the same rows."""

    y: Labels
    candidates: list[Outcomes]
    criterion: str
    groups: Labels | None

    def find_best(self) -> int:
        """Return the position of the best candidate; ties: log loss."""
        keys = [
            (
                -round(float(compute_row_values(self.y, c, self.criterion).mean()), 12),
                float(c.loss.mean()),
            )
            for c in self.candidates
        ]
        return min(range(len(keys)), key=keys.__getitem__)


def draw_leaderboard(world: World, seed: int) -> Leaderboard:
    """Return a leaderboard of a world."""
    rng = np.random.default_rng([seed, world.candidates, world.rows, 7])
    n, c = world.rows, world.candidates
    group = np.arange(n) // world.group_size
    common = _draw_scores(rng, group, 1, world.group_size)
    own = _draw_scores(rng, group, c, world.group_size)
    score = np.sqrt(world.shared) * common + np.sqrt(1 - world.shared) * own
    limits = np.array([NormalDist().inv_cdf(a) for a in world.accuracies])
    margin = limits - score
    candidates = [Outcomes(m > 0, np.log1p(np.exp(-2 * m))) for m in margin.T]
    y = rng.choice(N_CLASSES, n, p=[0.5, 0.3, 0.2])
    return Leaderboard(y, candidates, world.criterion, None if world.group_size == 1 else group)


def _draw_scores(
    rng: np.random.Generator, group: Labels, width: int, group_size: int
) -> NDArray[np.float64]:
    own = rng.standard_normal((len(group), width))
    if group_size == 1:
        return own
    shared = rng.standard_normal((int(group.max()) + 1, width))[group]
    return np.asarray(np.sqrt(GROUP_PART) * shared + np.sqrt(1 - GROUP_PART) * own)


def mark_by_rules(leaderboard: Leaderboard, seed: int) -> dict[str, NDArray[np.bool_]]:
    """Return which candidates each rule calls worse than the winner, `[c]`."""
    best, n = leaderboard.find_best(), len(leaderboard.candidates)
    n_pairs = max(1, n * (n - 1) // 2)
    p = np.array(
        [
            compute_p_value(
                leaderboard.y,
                leaderboard.candidates[best],
                c,
                leaderboard.criterion,
                leaderboard.groups,
            )
            for c in leaderboard.candidates
        ]
    )
    tied = find_tied(
        leaderboard.y, leaderboard.candidates, leaderboard.criterion, leaderboard.groups, seed
    )
    return dict(zip(RULES, (p <= 0.05, p <= 0.05 / n_pairs, ~tied), strict=True))


def make_intervals(leaderboard: Leaderboard, seed: int) -> dict[str, Interval]:
    """Return the intervals of the winner's accuracy by how they are made."""
    own = leaderboard.candidates[leaderboard.find_best()].is_correct
    return {
        "own": compute_interval(own, leaderboard.groups),
        "percentiles of draws": _take_percentiles(leaderboard, seed),
        "ilk": estimate_corrected_accuracy(
            leaderboard.y, leaderboard.candidates, leaderboard.criterion, seed, leaderboard.groups
        ),
    }


def _take_percentiles(leaderboard: Leaderboard, seed: int) -> Interval:
    """Return mean and percentiles of the winner of drawn rows on the others, as in the paper."""
    is_correct = np.stack([c.is_correct for c in leaderboard.candidates]).astype(np.float64)
    rng, values = np.random.default_rng(seed), []
    for counts in iterate_draws(len(leaderboard.y), 200, rng, leaderboard.groups):
        best = int((is_correct @ counts).argmax())
        values.append(float(is_correct[best, counts == 0].mean()))
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(np.mean(values)), float(low), float(high))


def measure_marks(
    make: Callable[[int], tuple[Leaderboard, NDArray[np.bool_]]], n_leaderboards: int
) -> dict[str, dict[str, Any]]:
    """Return, by rule, on how many leaderboards one of the best is called worse, and the power.

    Args:
        make: Returns a leaderboard and which of its candidates are really worse, `[c]`, for a seed.
        n_leaderboards: Number of leaderboards.
    """
    errors: dict[str, list[bool]] = {rule: [] for rule in RULES}
    found: dict[str, list[float]] = {rule: [] for rule in RULES}
    for seed in range(n_leaderboards):
        leaderboard, is_worse = make(seed)
        for rule, called in mark_by_rules(leaderboard, seed).items():
            errors[rule].append(bool((called & ~is_worse).any()))
            if is_worse.any():
                found[rule].append(float(called[is_worse].mean()))
    return {
        rule: {
            "leaderboards with an error": summarize_rate(errors[rule]),
            "worse ones recognized": summarize(found[rule]) if found[rule] else None,
        }
        for rule in RULES
    }


def summarize_intervals(
    cases: list[tuple[dict[str, Interval], float]],
) -> dict[str, dict[str, Any]]:
    """Return coverage, width and bias by kind of interval, of pairs of intervals and the truth."""
    return {
        name: {
            "coverage": summarize_rate(
                [i[name].low <= truth <= i[name].high for i, truth in cases]
            ),
            "width": summarize([i[name].high - i[name].low for i, _ in cases]),
            "bias": summarize([i[name].value - truth for i, truth in cases]),
            "holds its value": all(i[name].low <= i[name].value <= i[name].high for i, _ in cases),
        }
        for name in cases[0][0]
    }


def measure_world(world: World, n_leaderboards: int, n_intervals: int) -> dict[str, Any]:
    """Return errors and power of each rule, and coverage of each interval, in one world."""
    is_worse = world.accuracies < ACCURACY
    cases = []
    for seed in range(n_intervals):
        leaderboard = draw_leaderboard(world, seed)
        truth = float(world.accuracies[leaderboard.find_best()])
        cases.append((make_intervals(leaderboard, seed), truth))
    return {
        "candidates": world.candidates,
        "rows": world.rows,
        "correlation": world.shared,
        "worse by": world.gap,
        "criterion": world.criterion,
        "rows per group": world.group_size,
        "rules": measure_marks(
            lambda seed: (draw_leaderboard(world, seed), is_worse), n_leaderboards
        ),
        "intervals": summarize_intervals(cases) if cases else None,
    }


def summarize_rate(hits: list[bool]) -> dict[str, float]:
    """Return a rate with its 95 % interval."""
    interval = wilson_interval(sum(hits), len(hits))
    return {"rate": interval.value, "low": interval.low, "high": interval.high}
