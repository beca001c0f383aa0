"""The results of selecting a multi-label classifier by mean average precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ilk.core.metrics import Interval
from ilk.maths.iterative_stratification import Targets
from ilk.multilabel.average_precision import Counts, mean_average_precision
from ilk.multilabel.metrics import MultiLabelScores

Draws = NDArray[np.float64]  # [draws]


@dataclass(frozen=True)
class LabelCandidate:
    """One row of the leaderboard.

    Attributes:
        encoder: Name of the encoder.
        method: Text form of the method, such as `GDA(shrink=0.2)`.
        scores: Metrics of the out-of-fold predictions; None if there are none.
        seconds: Time spent on fitting and prediction over all folds.
        note: Why there are no scores, or "".
        is_tied: Whether the 95 % bootstrap interval of the difference from the winner holds 0.
    """

    encoder: str
    method: str
    scores: MultiLabelScores | None
    seconds: float
    note: str = ""
    is_tied: bool = False

    @property
    def sort_key(self) -> tuple[float, float]:
        """Lower is better: mean average precision, then log loss."""
        if self.scores is None:
            return (np.inf, np.inf)
        return (-round(self.scores.mean_average_precision.value, 12), self.scores.log_loss)


@dataclass(frozen=True, eq=False)
class CandidateDraws:
    """Mean average precision of a candidate on the rows of each bootstrap draw, and on the others.

    Attributes:
        inside: Of the drawn rows, `[draws]`.
        outside: Of the rows that were not drawn, `[draws]`.
    """

    inside: Draws
    outside: Draws

    @classmethod
    def compute(
        cls, targets: Targets, probabilities: NDArray[np.float64], counts: Counts
    ) -> CandidateDraws:
        """Score probabilities `[n, k]` for `targets [n, k]` on draws `[draws, n]`."""
        undrawn = (counts == 0).astype(np.float32)
        return cls(
            mean_average_precision(targets, probabilities, counts),
            mean_average_precision(targets, probabilities, undrawn),
        )


def rank_candidates_by_label(
    results: Sequence[LabelCandidate], draws: Sequence[CandidateDraws | None]
) -> tuple[list[int], list[LabelCandidate], Interval]:
    """Sort candidates by mean average precision (ties: log loss) and mark those that are tied.

    The best of many looks better than it is; as in Tsamardinos, Greasidou, Borboudakis 2018, arXiv
    1708.07180, algorithm 3, the best on the drawn rows is scored on the others.

    Args:
        results: Candidates, in any order.
        draws: Bootstrap scores of each; None without scores.

    Returns:
        Positions in `results`, best first; the candidates in that order; and the mean average
        precision of the best, corrected for the selection, with its 95 % interval.

    Raises:
        ValueError: No candidate has scores.
    """
    order = sorted(range(len(results)), key=lambda i: results[i].sort_key)
    winner = draws[order[0]]
    if winner is None:
        raise ValueError("no candidate has scores")
    ranked = []
    for i in order:
        own = draws[i]
        ranked.append(
            results[i] if own is None else replace(results[i], is_tied=_is_tied(winner, own))
        )
    scored = [d for d in draws if d is not None]
    inside, outside = (
        np.stack([getattr(d, name) for d in scored]) for name in ("inside", "outside")
    )
    best = np.nan_to_num(inside, nan=-1).argmax(0)
    values = outside[best, np.arange(inside.shape[1])]
    values = values[np.isfinite(values)]
    if not len(values):
        return order, ranked, Interval(float("nan"), 0.0, 1.0)
    low, high = np.quantile(values, [0.025, 0.975])
    return order, ranked, Interval(float(values.mean()), float(low), float(high))


def _is_tied(winner: CandidateDraws, other: CandidateDraws) -> bool:
    difference = winner.inside - other.inside
    difference = difference[np.isfinite(difference)]
    if not len(difference):
        return True
    low, high = np.quantile(difference, [0.025, 0.975])
    return bool(low <= 0 <= high)
