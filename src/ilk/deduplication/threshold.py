"""The score from which on two pictures count as the same, and whether its model holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.deduplication.calibration import Calibration
from ilk.maths.pareto_tail import ParetoTail, fit_tail

START = 0.8  # quantile of the scores of different pictures where their tail begins
MISSED = 0.02  # share of made copies that may score below the threshold in any case
MIN_CHECKED = 40  # candidates in each half
LEVELS = (0.3, 0.1, 0.03)  # shares of the tail above the scores at which it is checked
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Check:
    """The tail, found from one half of the candidates, against the other half.

    Attributes:
        score: A score above the start of the tail.
        expected: Number of wrong pairs from there to the lowest scores of copies, by the model.
        seen: Number of pairs of the other half that are there.
    """

    score: float
    expected: float
    seen: int


@dataclass(frozen=True)
class Threshold:
    """The score from which on two pictures count as the same.

    Attributes:
        score: The threshold, a logarithm of odds.
        false_matches: Number of wrong pairs that is allowed to be expected above it.
        expected: Number that is expected, which is less where copies score much higher.
        n_candidates: Number of pairs that were looked at.
        share_of_copies: Share of them that are copies, by the model.
        checks: The model against candidates that did not determine it; empty where they are few.
    """

    score: float
    false_matches: float
    expected: float
    n_candidates: int
    share_of_copies: float
    checks: tuple[Check, ...]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)


def choose_threshold(
    scores: Vector, calibration: Calibration, false_matches: float, seed: int = 0
) -> Threshold:
    """Return the threshold above which at most `false_matches` wrong pairs are expected.

    It is no lower than what nearly all copies reach: a lower one would find hardly more of them.

    Args:
        scores: Of all pairs that are looked at, `[m]`.
        calibration: What copies look like.
        false_matches: Number of wrong pairs, above 0.
        seed: Of the halves of the check.
    """
    tail = fit_wrong_tail(scores, calibration)
    least = float(np.quantile(calibration.copies, MISSED))
    score = max(tail.find_threshold(false_matches), least)
    n_copies = tail.count * float(tail.weight @ tail.share)
    return Threshold(
        score,
        false_matches,
        tail.count_above(score),
        len(scores),
        n_copies / max(len(scores), 1),
        _check(scores, calibration, tail.start, seed),
    )


def fit_wrong_tail(scores: Vector, calibration: Calibration) -> ParetoTail:
    """Return the tail of the wrong pairs among all pairs that are looked at."""
    different = calibration.different
    start = float(np.quantile(different if len(different) else scores, START))
    return fit_tail(scores, calibration.copies, start, different)


def _check(scores: Vector, calibration: Calibration, start: float, seed: int) -> tuple[Check, ...]:
    """Return how many wrong pairs one half has where the tail of the other half expects them.

    Counted are those between the score that a share of `LEVELS` of the tail exceeds and the lowest
    scores of copies.
    """
    order = np.random.default_rng(seed).permutation(len(scores))
    half, other = scores[order[::2]], scores[order[1::2]]
    if len(other) < MIN_CHECKED:
        return ()
    tail = fit_tail(half, calibration.copies, start)
    above, checks = int((other >= start).sum()), []
    high = float(np.quantile(calibration.copies, MISSED))
    factor = above / max(tail.count, 1)
    for level in LEVELS:
        low = tail.find_threshold(level * max(tail.count_above(start), 1e-9))
        if low < high:
            expected = factor * (tail.count_above(low) - tail.count_above(high))
            checks.append(Check(low, expected, int(((other >= low) & (other < high)).sum())))
    return tuple(checks)
