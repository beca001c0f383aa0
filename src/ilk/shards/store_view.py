"""A store that finds in a shard folder what would otherwise be decoded and encoded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np

from ilk.core.data import Features
from ilk.core.space import FeatureSpace
from ilk.images.value_ranges.contrast import CONTRAST
from ilk.shards.features import ShardedFeatures
from ilk.shards.parts import read_outcomes
from ilk.store import Store


class ShardStore(Store):
    """The user's store, and before it the parts of a shard folder.

    `fit(load_listing(manifest), store=ShardStore(...))` is the fit on the images themselves, of
    which none is decoded: features, pixels seen twice, damage and low contrast are in the parts.
    What the parts lack, such as the features of another encoder, is looked for in the store and put
    there.

    Args:
        features: Features of the shard folder, one or several encoders'.
        path: The store; the user's own by default.

    Raises:
        OutputError: The store cannot be created or written.
    """

    def __init__(
        self, features: Sequence[ShardedFeatures], path: str | os.PathLike[str] | None = None
    ) -> None:
        super().__init__(path)
        self._features = {one.space.key: one for one in features}

    @cached_property
    def _positions(self) -> dict[str, dict[str, int]]:
        """Position of the first row with features of each content, by space."""
        found: dict[str, dict[str, int]] = {}
        for key, features in self._features.items():
            positions = np.flatnonzero(features.has_features)[::-1]
            digests = features.digests[positions]
            found[key] = dict(zip(digests, positions.tolist(), strict=True))
        return found

    @cached_property
    def _outcomes(self) -> dict[str, tuple[str, str, bytes | None, tuple[float, float] | None]]:
        """What decoding gave, by content: reason or pixel digest, detail, thumbnail, contrast."""
        names = ("digest", "reason", "detail", "pixel_digest", "thumbnail", "deviation", "levels")
        found: dict[str, tuple[str, str, bytes | None, tuple[float, float] | None]] = {}
        failed: dict[str, tuple[str, str, bytes | None, tuple[float, float] | None]] = {}
        one = next(iter(self._features.values()), None)
        for i in range(one.manifest.n_shards if one is not None else 0):
            columns = read_outcomes(one.space, i, names) if one is not None else {}
            for digest, reason, detail, pixels, thumbnail, deviation, levels in zip(
                *(columns[name] for name in names), strict=True
            ):
                if not digest:
                    continue
                if reason is not None:
                    failed[digest] = (reason, detail or "", None, None)
                else:
                    contrast = None if deviation is None else (deviation, levels)
                    found[digest] = ("", pixels or "", thumbnail, contrast)
        return failed | found

    def find_missing(self, space: FeatureSpace, digests: Iterable[str]) -> list[str]:
        """Return those of `digests` that neither the parts nor the store have, once each."""
        if space.parts or space.key not in self._features:
            return super().find_missing(space, digests)
        known = self._positions[space.key]
        return super().find_missing(space, [d for d in digests if d not in known])

    def _read_into(self, out: Features, space: FeatureSpace, digests: Sequence[str]) -> None:
        if space.parts or space.key not in self._features:
            super()._read_into(out, space, digests)
            return
        known = self._positions[space.key]
        here = [i for i, digest in enumerate(digests) if digest in known]
        out[here] = self._features[space.key].take([known[digests[i]] for i in here])
        if len(here) < len(digests):
            elsewhere = [i for i, digest in enumerate(digests) if digest not in known]
            rows = np.empty((len(elsewhere), space.dim), np.float32)
            super()._read_into(rows, space, [digests[i] for i in elsewhere])
            out[elsewhere] = rows

    def get_decode_results(self, digests: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Return what decoding gave: reason, "" if it succeeded, and detail."""
        wanted = list(dict.fromkeys(digests))
        known = {d: o for d in wanted if (o := self._outcomes.get(d)) is not None}
        stored = super().get_decode_results([d for d in wanted if d not in known])
        return stored | {d: (o[0], o[1] if o[0] else "") for d, o in known.items()}

    def get_measurements(self, name: str, digests: Iterable[str]) -> dict[str, tuple[float, float]]:
        """Return what was measured under a name, by content."""
        wanted = list(dict.fromkeys(digests))
        stored = super().get_measurements(name, wanted)
        if name != CONTRAST:
            return stored
        known = {d: o[3] for d in wanted if (o := self._outcomes.get(d)) is not None}
        return stored | {d: contrast for d, contrast in known.items() if contrast is not None}

    def get_pixel_digests(self, digests: Iterable[str]) -> dict[str, str]:
        """Return the digests of the pixels of files; "" where only features are known."""
        wanted = list(dict.fromkeys(digests))
        known = {d: o[1] for d in wanted if (o := self._outcomes.get(d)) is not None and not o[0]}
        return known | super().get_pixel_digests([d for d in wanted if d not in known])

    def _iter_pixel_rows(self, digests: Iterable[str]) -> Iterator[tuple[bytes, bytes, bytes]]:
        others = []
        for digest in dict.fromkeys(digests):
            outcome = self._outcomes.get(digest)
            if outcome is None or outcome[0]:
                others.append(digest)
            elif outcome[1] and outcome[2] is not None:
                yield bytes.fromhex(digest), bytes.fromhex(outcome[1]), outcome[2]
        yield from super()._iter_pixel_rows(others)
