"""`FeatureSpace`: the key of an encoder's features in the store."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FeatureSpace:
    """An encoder's features: their key, display name and number of features per row.

    Attributes:
        key: Digest of encoder, weights, preprocessing and precision.
        name: Display name.
        dim: Number of features per row.
        parts: Spaces whose features stand side by side in this one, in this order. Their rows are
            stored once, under the parts; empty for the features of a single encoder.
    """

    key: str
    name: str
    dim: int
    parts: tuple[FeatureSpace, ...] = ()
