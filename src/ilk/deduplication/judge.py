"""Measure pairs of pictures: how their pixels agree and how similar their features are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.core.progress import Advance
from ilk.core.threaded_map import map_threaded
from ilk.deduplication.alignment import align
from ilk.deduplication.orientations import UPRIGHT, orient
from ilk.deduplication.picture import Picture, reduce_picture
from ilk.deduplication.refinement import NO_AGREEMENT, Agreement
from ilk.images import ImageError, Images, Row, decode
from ilk.images.decoding.memory import pixel_budget
from ilk.images.inspection.contents import count_pixels

MAX_PICTURES = 400  # that are ready for comparisons: 0.3 MB each
FINEST = 0.01  # of 1 - cosine, below which features tell no more
Measures = NDArray[np.float64]  # [m, 5]
SHARE = 3  # column of the measures


@dataclass(eq=False)
class Judge:
    """Compares the pictures of a source pair by pair.

    Attributes:
        images: The source.
        rows: Its different pictures, `n` of them.
        x: Their features with the mean of all taken off and norm 1, `[n, d]`.
        mean: That mean, `[d]`.
        reduced: Small versions of pictures that were needed, by position; None where a file
            cannot be read any more.
    """

    images: Images
    rows: Sequence[Row]
    x: NDArray[np.float32]
    mean: NDArray[np.float32]
    reduced: dict[int, NDArray[np.uint8] | None] = field(default_factory=dict)
    _ready: OrderedDict[tuple[int, int], Picture] = field(default_factory=OrderedDict)

    def load(self, positions: Iterable[int], advance: Advance = lambda _n: None) -> None:
        """Read the pictures at `positions` that were not read yet."""
        missing = sorted(set(positions) - self.reduced.keys())
        for i, pixels in zip(missing, map_threaded(self._reduce, missing, advance), strict=True):
            self.reduced[i] = pixels

    def decode(self, position: int) -> Image.Image | None:
        """Return a picture of mode RGB, None if its file cannot be read."""
        row = self.rows[position]
        try:
            return decode(self.images.source_of(row), **row.reading)
        except (ImageError, OSError, MemoryError):
            return None

    def _reduce(self, position: int) -> NDArray[np.uint8] | None:
        with pixel_budget.reserve(count_pixels(self.rows[position])):
            image = self.decode(position)
            return None if image is None else reduce_picture(image)

    def get_picture(self, position: int, code: int = UPRIGHT) -> Picture | None:
        """Return a loaded picture in an orientation, ready to be compared."""
        if (position, code) in self._ready:
            self._ready.move_to_end((position, code))
            return self._ready[position, code]
        pixels = self.reduced[position]
        if pixels is None:
            return None
        picture = self._ready[position, code] = Picture(orient(pixels, code))
        if len(self._ready) > MAX_PICTURES:
            self._ready.popitem(last=False)
        return picture

    def compare(
        self,
        pairs: NDArray[np.int64],
        codes: NDArray[np.int64] | None = None,
        advance: Advance = lambda _n: None,
    ) -> tuple[list[Agreement], Measures]:
        """Return how the pixels of pairs `[m, 2]` agree, and what they are scored by, `[m, 5]`.

        Args:
            pairs: Positions of pictures that are loaded.
            codes: Their orientations, `[m, 2]`; upright without.
            advance: Called with the number of pairs that are done.
        """
        codes = np.full_like(pairs, UPRIGHT) if codes is None else codes
        agreements = []
        for (i, j), (a, b) in zip(pairs.tolist(), codes.tolist(), strict=True):
            first, second = self.get_picture(i, a), self.get_picture(j, b)
            found = NO_AGREEMENT if first is None or second is None else align(first, second)
            agreements.append(found)
            advance(1)
        cosine = np.einsum("ij,ij->i", self.x[pairs[:, 0]], self.x[pairs[:, 1]])
        return agreements, measure(agreements, cosine)


def measure(agreements: Sequence[Agreement], cosine: NDArray[np.float32]) -> Measures:
    """Return what pairs are scored by, `[m, 5]`, from agreements and cosines `[m]`.

    The inverse hyperbolic tangents of the correlations (their variance does not depend on them;
    Ronald Fisher, 1915), and the logarithms of the share and of the distance of the features.
    """
    rows = [(a.correlation, a.fine, a.grey, a.share) for a in agreements]
    table = np.array(rows).reshape(-1, 4)
    return np.column_stack(
        [
            *np.arctanh(np.clip(table[:, :3], -0.9, 0.99)).T,
            np.log(np.maximum(table[:, 3], 1e-3)),
            -np.log(np.maximum(1 - cosine.astype(np.float64), 0) + FINEST),
        ]
    )
