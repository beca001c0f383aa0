"""The results of selecting a multi-label classifier by mean average precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ilk.core.metrics import Interval
from ilk.maths.iterative_stratification import Targets
from ilk.maths.multiple_comparisons import select_possible_best_of_draws
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
        is_tied: Whether it may be the best at the 95 % level, over all candidates together; true
            for the winner itself.
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
    1708.07180, algorithm 3, the best on the drawn rows is scored on the others. Which candidates
    may be the best is found by `ilk.maths.multiple_comparisons`.

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
    scored = [i for i in order if draws[i] is not None and results[i].scores is not None]
    if not scored:
        raise ValueError("no candidate has scores")
    inside, outside = (
        np.stack([getattr(draws[i], name) for i in scored]) for name in ("inside", "outside")
    )
    values = np.array([_mean_average_precision(results[i]) for i in scored])
    tied = set(np.array(scored)[_find_tied(values, inside)].tolist()) | {scored[0]}
    ranked = [replace(results[i], is_tied=i in tied) for i in order]
    return order, ranked, _correct_for_selection(inside, outside, float(values[0]))


def _mean_average_precision(result: LabelCandidate) -> float:
    return np.nan if result.scores is None else result.scores.mean_average_precision.value


def _find_tied(values: Draws, inside: Draws) -> NDArray[np.bool_]:
    """Return which candidates may be the best, `[c]`, by their values on draws, `[c, draws]`."""
    is_known = np.isfinite(inside).all(0)
    if is_known.sum() < 2:
        return np.ones(len(values), bool)
    return select_possible_best_of_draws(values, inside[:, is_known])


def _correct_for_selection(inside: Draws, outside: Draws, own: float) -> Interval:
    """Return the score of the best on the rows that are not drawn, with its 95 % interval.

    It reaches from the lower end around the corrected score to the upper end around the winner's
    own, as in `ilk.fitting.selection_statistics`, with the deviation of the winner on drawn rows.

    Args:
        inside: Scores on the drawn rows, `[c, draws]`; the winner comes first.
        outside: Scores on the other rows, `[c, draws]`.
        own: Score of the winner on all rows.
    """
    best = np.nan_to_num(inside, nan=-1).argmax(0)
    values = outside[best, np.arange(inside.shape[1])]
    values, draws = values[np.isfinite(values)], inside[0][np.isfinite(inside[0])]
    if not len(values) or not len(draws):
        return Interval(float("nan"), 0.0, 1.0)
    corrected, half = float(values.mean()), 1.96 * float(draws.std())
    high = max(corrected, own) + half
    return Interval(corrected, max(0.0, corrected - half), min(1.0, high))
