"""The features of shard folders where a fit looks for those of the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ilk.core.data import Features
from ilk.core.space import FeatureSpace
from ilk.images.inspection.pixel_summary import PixelSummary
from ilk.images.rows import Row
from ilk.images.value_ranges.contrast import CONTRAST
from ilk.shards.features import ShardedFeatures
from ilk.shards.parts import read_outcomes
from ilk.store import Store


class ShardStore(Store):
    """A store whose features of some encoders lie in shards; others are the user's own.

    What decoding gave is read from the shards, too, so that no image is opened.

    Args:
        features: Features of the same rows, one per encoder.
        rows: The rows, in the order of the manifest.
        path: The file of the store behind it; None is the user's own.
    """

    def __init__(
        self, features: Sequence[ShardedFeatures], rows: Sequence[Row], path: Path | None = None
    ) -> None:
        super().__init__(path)
        self._features = {one.space.key: one for one in features}
        has = np.logical_and.reduce([one.has_features for one in features])
        self._positions = {row.digest: i for i, row in enumerate(rows) if has[i] and row.digest}
        self._summaries: dict[str, PixelSummary] = {}
        self._contrast: dict[str, tuple[float, float]] = {}
        for i, shard in enumerate(features[0].manifest.shards):
            self._read_outcomes(features[0], i, rows[shard.start : shard.start + shard.n])

    def _read_outcomes(self, features: ShardedFeatures, i: int, rows: Sequence[Row]) -> None:
        names = ["pixel_digest", "thumbnail", "deviation", "levels"]
        outcomes = read_outcomes(features.space, i, names)
        for row, *values in zip(rows, *(outcomes[name] for name in names), strict=True):
            pixel_digest, thumbnail, deviation, levels = values
            if pixel_digest and thumbnail:
                self._summaries[row.digest] = PixelSummary(pixel_digest, thumbnail)
            if deviation is not None and levels is not None:
                self._contrast[row.digest] = (deviation, levels)

    def find_missing(self, space: FeatureSpace, digests: Iterable[str]) -> list[str]:
        """Return those of `digests` that `space` lacks, once each, in order."""
        if space.key in self._features:
            return [d for d in dict.fromkeys(digests) if d not in self._positions]
        return super().find_missing(space, digests)

    def _read_into(self, out: Features, space: FeatureSpace, digests: Sequence[str]) -> None:
        features = self._features.get(space.key)
        if features is None or not all(digest in self._positions for digest in digests):
            super()._read_into(out, space, digests)
            return
        out[:] = features.take([self._positions[digest] for digest in digests])

    def get_measurements(self, name: str, digests: Iterable[str]) -> dict[str, tuple[float, float]]:
        """Return what was measured under a name: digest to two numbers."""
        if name != CONTRAST:
            return super().get_measurements(name, digests)
        return {d: self._contrast[d] for d in digests if d in self._contrast}

    def get_pixel_digests(self, digests: Iterable[str]) -> dict[str, str]:
        """Return the digests of the pixels of files; "" for features of another program."""
        return {
            d: self._summaries[d].digest if d in self._summaries else ""
            for d in digests
            if d in self._positions
        }

    def get_pixel_summaries(self, digests: Iterable[str]) -> dict[str, PixelSummary]:
        """Return what is kept of the pixels of files, by digest, where it is known."""
        return {d: self._summaries[d] for d in digests if d in self._summaries}
