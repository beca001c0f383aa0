"""The leaderboard and its rows, as values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.data import Labels
from ilk.metrics import Interval, Probabilities, Scores
from ilk.models import Method, describe


@dataclass(frozen=True)
class Result:
    """One row of the leaderboard.

    Attributes:
        encoder: Its name.
        method: As it would be typed, `GDA(shrink=0.2)`.
        scores: Of the out-of-fold answers; None where there are none.
        seconds: Spent on fitting and answering over all folds.
        note: Why it has no scores, or "".
        tied: Not told apart from the winner by a paired test at 5 %; true of the winner itself.
    """

    encoder: str
    method: str
    scores: Scores | None
    seconds: float
    note: str = ""
    tied: bool = False


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """What models of the other folds answered.

    Attributes:
        logits: `[n, k]` float64; nan where no fold could test the row.
        tested: Which rows were tested, `[n]`.
        seconds: Spent on fitting and answering over all folds.
    """

    logits: NDArray[np.float64]
    tested: NDArray[np.bool_]
    seconds: float


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """Every encoder with every head, best first.

    Attributes:
        results: Scored rows best first, then the others.
        winner: Encoder name and method. Where nothing could be scored, a safe choice: GDA, else
            nearest class mean, else the first head, on the first encoder with pretrained weights.
        folds: How many were made; 0 where cross-validation is impossible.
        note: What cross-validation could not do, as a sentence, or "".
        honest: Accuracy of the whole selection with its 95 % interval; None where unknown.
        fold: Which fold tested each row, `[n]`, -1 for none.
        oof: The winner's out-of-fold logits; None where there are none.
        probabilities: The same, calibrated on the other folds, `[n, k]`; nan where not tested.
    """

    results: tuple[Result, ...]
    winner: tuple[str, Method]
    folds: int
    note: str
    honest: Interval | None
    fold: Labels
    oof: OutOfFold | None = None
    probabilities: Probabilities | None = None

    def to_json(self) -> dict[str, Any]:
        """Everything but the arrays, ready for JSON."""
        return {
            "winner": {"encoder": self.winner[0], "method": describe(self.winner[1])},
            "folds": self.folds,
            "note": self.note,
            "honest": asdict(self.honest) if self.honest else None,
            "results": [asdict(row) for row in self.results],
        }
