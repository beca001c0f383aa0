"""Class discovery: group unlabelled rows into classes that have no name yet. One per file."""

from __future__ import annotations

from functools import cache
from typing import Any

from ilk.core.contracts import DiscoveryTags
from ilk.core.registry import find_classes


@cache
def list_discovery_methods() -> dict[str, type[Any]]:
    """Return every discovery method by name; each file of this folder defines one."""
    return find_classes(__name__, DiscoveryTags)
