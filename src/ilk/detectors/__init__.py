"""Anomaly detectors: fitted to normal rows, they score how anomalous a row is. One per file."""

from __future__ import annotations

from functools import cache
from typing import Any

from ilk.core.contracts import DetectorTags
from ilk.core.registry import find_classes


@cache
def list_detectors() -> dict[str, type[Any]]:
    """Return every detector class by name; each file of this folder defines one."""
    return find_classes(__name__, DetectorTags)
