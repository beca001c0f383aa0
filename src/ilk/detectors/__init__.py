"""Anomaly detectors: fitted to normal rows, they score how anomalous a row is. One per file."""

from __future__ import annotations

from functools import cache
from typing import Any

from ilk.core.contracts import DetectorTags
from ilk.core.registry import find_classes, parse_call


@cache
def list_detectors() -> dict[str, type[Any]]:
    """Return every detector class by name; each file of this folder defines one."""
    return find_classes(__name__, DetectorTags)


def parse_detector(text: str) -> Any:
    """Return the detector that `text` describes, such as `GaussianAnomaly(folds=3)`.

    Raises:
        UnknownName: No file of this folder defines it; the message suggests the nearest.
        InputError: The arguments are not literals, or it has no such field.
    """
    return parse_call(text, list_detectors(), "detector")
