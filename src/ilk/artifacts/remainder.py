"""Open an ensemble without an encoder that is gone from this machine.

At the fit, `model.json` records what the rest of the ensemble alone is worth on held-out folds,
with a calibration and a conformal threshold of its own (`ilk.fitting.ensemble_metadata`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ilk.core.ensemble import EnsembleModel
from ilk.core.errors import InputError, Unavailable
from ilk.encoders import restore_encoder
from ilk.trust.calibration import Calibration
from ilk.trust.column_detector import ColumnDetector
from ilk.trust.conformal import ConformalPredictor
from ilk.trust.out_of_distribution import OutOfDistributionDetector

REFIT_HINT = "fit it again: ilk fit"


def list_encoder_names(metadata: Mapping[str, Any]) -> list[str]:
    """Return the names of the encoders of a model, in the order of their columns."""
    return [part["name"] for part in _list_descriptions(metadata)]


def remove_encoders(
    parts: Mapping[str, Any], metadata: Mapping[str, Any], without: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parts and the metadata of a model without one of its encoders.

    What the model stores of its training images is dropped, so that the rest can predict but not be
    extended. Without the encoder of the out-of-distribution detector nothing is flagged.

    Raises:
        InputError: The model does not use the encoder, needs it, or was extended.
    """
    names = dict.fromkeys(without)
    for name in names:
        _check_removable(name, parts, metadata, len(names))
    name = next(iter(names))
    record = metadata["ensemble"]["without"][name]
    first, last = record["columns"]
    rest = {
        **parts,
        "model": parts["model"].drop_columns(first, last),
        "calibration": Calibration(**record["calibration"]),
        "conformal": ConformalPredictor(**record["conformal"]),
        "ood_detector": _drop_detector_columns(parts["ood_detector"], first, last),
    }
    rest.pop("summary_statistics", None)
    left = [d for d in _list_descriptions(metadata) if d["name"] != name]
    encoder = {"parts": left} if len(left) > 1 else left[0]
    note = (
        f"opened without {name}, which the model was fitted with: {_format_accuracy(record)} on "
        "held-out folds"
    )
    notes = [*metadata.get("notes", []), note]
    return rest, {**metadata, "encoder": encoder, "notes": notes, "ensemble": None}


def explain_missing(
    error: Unavailable, metadata: Mapping[str, Any], device: str, runtime: str
) -> Unavailable:
    """Return `error` with what the model is worth without the encoder that is missing.

    Args:
        error: Why the encoder of the model cannot be opened.
        metadata: Metadata of the model.
        device: As for `restore_encoder`.
        runtime: Likewise.
    """
    missing = []
    for description in _list_descriptions(metadata):
        try:
            restore_encoder(description, device=device, runtime=runtime)
        except Unavailable:
            missing.append(description["name"])
    ensemble = metadata.get("ensemble")
    if not ensemble or not missing:
        return error
    record = ensemble["without"].get(missing[0]) if len(missing) == 1 else None
    if record is None:
        return Unavailable(f"{error}; every part of the ensemble needs it")
    return Unavailable(
        f"{error}; the rest of the ensemble alone has {_format_accuracy(record)} on held-out "
        f"folds: open it with --without {missing[0]!r}"
    )


def _check_removable(
    name: str, parts: Mapping[str, Any], metadata: Mapping[str, Any], n_names: int
) -> None:
    known = list_encoder_names(metadata)
    if name not in known:
        raise InputError(
            f"the model does not use the encoder {name!r}; its encoders are: {', '.join(known)}"
        )
    if not metadata.get("ensemble") or n_names > 1:
        raise InputError(
            f"the model needs {' and '.join(known)}; only one encoder of an ensemble can be left "
            f"out; {REFIT_HINT}"
        )
    if not isinstance(parts["model"], EnsembleModel):
        raise InputError(
            f"classes were added to this ensemble, so it needs {' and '.join(known)}; {REFIT_HINT}"
        )
    if name not in metadata["ensemble"]["without"]:
        raise InputError(f"every part of this ensemble needs {name}; {REFIT_HINT}")


def _list_descriptions(metadata: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    encoder = metadata["encoder"]
    return list(encoder.get("parts", [encoder]))


def _drop_detector_columns(
    detector: OutOfDistributionDetector, first: int, last: int
) -> OutOfDistributionDetector:
    """Return the detector of the columns that are left; one that flags nothing if it read others.

    Columns from `first` to before `last` are dropped.
    """
    at = detector.first if isinstance(detector, ColumnDetector) else 0
    if at == first:
        return ColumnDetector.make_blind(detector)
    return ColumnDetector.from_detector(detector, at - (last - first) if at >= last else at)


def _format_accuracy(record: Mapping[str, Any]) -> str:
    accuracy = record["accuracy"]
    return f"an accuracy of {accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}]"
