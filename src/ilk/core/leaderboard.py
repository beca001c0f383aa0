"""The results of model selection, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
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
        is_tied: Whether it may be the best at the 95 % level, over all candidates together; true
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
class Remainder:
    """What is left of an ensemble without one of its encoders.

    Attributes:
        accuracy: Its accuracy on held-out folds.
        logits: Out-of-fold logits of the tested rows, `[m, k]`.
    """

    accuracy: Interval
    logits: NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Combination:
    """How an ensemble of candidates compares with the best single one, on held-out folds.

    The weights for the rows of a fold are selected on the other folds, so that the differences
    include the cost of choosing them.

    Attributes:
        members: Encoder, method and weight of each member, greatest weight first.
        baseline: Encoder and method of the best single candidate.
        accuracy_gain: Difference in accuracy; positive where the ensemble is better.
        log_loss_gain: Difference in log loss, in nats; positive where the ensemble is better.
        is_used: Whether the ensemble is the winner.
        remainders: What is left without each encoder, by its name; no entry where nothing is.
    """

    members: tuple[tuple[str, str, float], ...]
    baseline: tuple[str, str]
    accuracy_gain: Interval
    log_loss_gain: Interval
    is_used: bool = False
    remainders: Mapping[str, Remainder] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return one sentence: members, gains with their 95 % intervals, and the decision."""
        names = ", ".join(f"{m} on {e} ({100 * w:.0f} %)" for e, m, w in self.members)
        encoder, method = self.baseline
        gain, loss = self.accuracy_gain, self.log_loss_gain
        if self.is_used:
            decision = f"the ensemble of {names} is used: against {method} on {encoder} alone"
        else:
            decision = (
                f"{method} on {encoder} is used alone, because an ensemble of "
                f"{len(self.members)} candidates is not clearly better: with it"
            )
        return (
            f"{decision}, the accuracy on held-out folds changes by {100 * gain.value:+.2f} points "
            f"[{100 * gain.low:+.2f}, {100 * gain.high:+.2f}] and the log loss by "
            f"{-loss.value:+.3f} [{-loss.high:+.3f}, {-loss.low:+.3f}]"
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything but the arrays as JSON values."""
        return {
            "members": [
                {"encoder": e, "method": m, "weight": round(w, 4)} for e, m, w in self.members
            ],
            "baseline": {"encoder": self.baseline[0], "method": self.baseline[1]},
            "accuracy_gain": asdict(self.accuracy_gain),
            "log_loss_gain": asdict(self.log_loss_gain),
            "used": self.is_used,
            "without": {
                name: {"accuracy": asdict(remainder.accuracy)}
                for name, remainder in self.remainders.items()
            },
        }


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
        combination: How an ensemble compares with the best single candidate; None if there is no
            ensemble of several candidates.
        winner_encoders: Names of the encoders of the winner, in the order of their columns; the
            first one is that of the best single candidate.
    """

    results: tuple[CandidateResult, ...]
    winner: tuple[str, Method]
    n_folds: int
    note: str
    corrected_accuracy: Interval | None
    fold: Labels
    out_of_fold: OutOfFold | None = None
    probabilities: Probabilities | None = None
    combination: Combination | None = None
    winner_encoders: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.winner_encoders:
            object.__setattr__(self, "winner_encoders", (self.winner[0],))

    def to_json(self) -> dict[str, Any]:
        """Return everything but the arrays as JSON values."""
        return {
            "winner": {"encoder": self.winner[0], "method": describe(self.winner[1])},
            "folds": self.n_folds,
            "note": self.note,
            "honest": asdict(self.corrected_accuracy) if self.corrected_accuracy else None,
            "combination": self.combination.to_json() if self.combination else None,
            "results": [asdict(row) for row in self.results],
        }
