"""The results of model selection, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import Method, describe
from ilk.core.data import Labels
from ilk.core.metrics import Interval, Probabilities, Scores


@dataclass(frozen=True)
class CandidateResult:
    """One row of the leaderboard.

    Attributes:
        encoder: Name of the encoder.
        method: Text form of the method, such as `GDA(shrink=0.2)`.
        scores: Metrics of the out-of-fold predictions; None if there are none.
        seconds: Time spent on fitting and prediction over all folds.
        note: Why there are no scores, or how they were limited, or "".
        is_tied: Whether a paired test at the 5 % level finds no difference from the winner; true
            for the winner itself.
    """

    encoder: str
    method: str
    scores: Scores | None
    seconds: float
    note: str = ""
    is_tied: bool = False


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Out-of-fold predictions.

    Attributes:
        logits: `[n, k]` float64; nan for a row that no fold tests.
        is_tested: Which rows were tested, `[n]`.
        seconds: Time spent on fitting and prediction over all folds.
        note: How the training parts were limited, or "".
    """

    logits: NDArray[np.float64]
    is_tested: NDArray[np.bool_]
    seconds: float
    note: str = ""


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """All combinations of encoder and method, best first.

    Attributes:
        results: Results with scores, best first, then the others.
        winner: Encoder name and method. Without scores, a default: GDA, else nearest class mean,
            else the first method, on the first encoder with pretrained weights.
        n_folds: Number of folds; 0 if cross-validation is impossible.
        note: Limits of the cross-validation, as a sentence, or "".
        corrected_accuracy: Accuracy of the winner, corrected for selection, with its 95 %
            interval; None if unknown.
        fold: Fold that tested each row, `[n]`, -1 for none.
        out_of_fold: Out-of-fold predictions of the winner; None if there are none.
        probabilities: The same, calibrated on the other folds, `[n, k]`; nan if not tested.
    """

    results: tuple[CandidateResult, ...]
    winner: tuple[str, Method]
    n_folds: int
    note: str
    corrected_accuracy: Interval | None
    fold: Labels
    out_of_fold: OutOfFold | None = None
    probabilities: Probabilities | None = None

    def to_json(self) -> dict[str, Any]:
        """Return everything but the arrays as JSON values."""
        return {
            "winner": {"encoder": self.winner[0], "method": describe(self.winner[1])},
            "folds": self.n_folds,
            "note": self.note,
            "honest": asdict(self.corrected_accuracy) if self.corrected_accuracy else None,
            "results": [asdict(row) for row in self.results],
        }
