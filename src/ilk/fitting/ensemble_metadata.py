"""What a saved model records of its ensemble, so that it can be opened without an encoder."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ilk.core.capabilities import list_parts
from ilk.core.leaderboard import Remainder
from ilk.fitting.fit_state import FitState
from ilk.trust.calibration import Calibration
from ilk.trust.conformal import ConformalPredictor


def describe_ensemble(state: FitState) -> dict[str, Any] | None:
    """Return members, gains and what is left without each encoder; None without an ensemble.

    Each remainder has the columns of the encoder that is left out, its accuracy on held-out folds,
    its calibration and its conformal threshold.
    """
    combination = state.leaderboard.combination
    if combination is None or not combination.is_used:
        return None
    value, columns, first = combination.to_json(), {}, 0
    for part in list_parts([state.encoder]):
        columns[part.name] = [first, first + part.space.dim]
        first += part.space.dim
    value["without"] = {
        name: {"columns": columns[name], **_describe_remainder(state, remainder)}
        for name, remainder in combination.remainders.items()
    }
    return value


def _describe_remainder(state: FitState, remainder: Remainder) -> dict[str, Any]:
    is_tested = state.leaderboard.fold >= 0
    y = state.features.y[is_tested]
    calibration = Calibration.fit(remainder.logits, y)
    p = calibration.to_probabilities(remainder.logits)
    return {
        "accuracy": asdict(remainder.accuracy),
        "calibration": asdict(calibration),
        "conformal": asdict(ConformalPredictor.fit(p, y, state.config.coverage)),
    }
