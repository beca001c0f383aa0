"""`FeatureSpace`: the key of an encoder's features in the store."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FeatureSpace:
    """An encoder's features: their key, display name and number of features per row."""

    key: str
    name: str
    dim: int
