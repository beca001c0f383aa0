"""Simple perceptual hashes to compare with, all 64 bits; near is a difference of at most 10 bits.

Neal Krawetz, 2011 and 2013, Looks Like It and Kind of Like That (average and difference hash).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.images.duplicates.near_duplicates import find_near_duplicates
from ilk.images.duplicates.perceptual_hash import (
    compute_hashes,
    count_differing_bits,
    stack_thumbnails,
)
from ilk.images.inspection.pixel_summary import summarize_pixels

MAX_BITS = 10
Pairs = set[tuple[int, int]]


def find_by_ilk(images: Sequence[Image.Image]) -> Pairs:
    """Return the pairs of `ilk check`."""
    found = find_near_duplicates(_make_thumbnails(images))
    return set(zip(found.first.tolist(), found.second.tolist(), strict=True))


def find_by_hash_alone(images: Sequence[Image.Image]) -> Pairs:
    """Return the pairs whose DCT hashes are near, without the second measure."""
    return _find_near(compute_hashes(_make_thumbnails(images)))


def find_by_average_hash(images: Sequence[Image.Image]) -> Pairs:
    """Return the pairs whose average hashes are near: a bit is a pixel of 8 x 8 above the mean."""
    grey = [_shrink(image, 8, 8) for image in images]
    return _find_near(_pack([pixels > pixels.mean() for pixels in grey]))


def find_by_difference_hash(images: Sequence[Image.Image]) -> Pairs:
    """Return the pairs whose difference hashes are near: a bit is a pixel above its left one."""
    grey = [_shrink(image, 9, 8) for image in images]
    return _find_near(_pack([pixels[:, 1:] > pixels[:, :-1] for pixels in grey]))


METHODS = {
    "ilk: DCT hash and thumbnails": find_by_ilk,
    "DCT hash alone": find_by_hash_alone,
    "average hash": find_by_average_hash,
    "difference hash": find_by_difference_hash,
}


def _make_thumbnails(images: Sequence[Image.Image]) -> NDArray[np.uint8]:
    return stack_thumbnails([summarize_pixels(image).thumbnail for image in images])


def _shrink(image: Image.Image, width: int, height: int) -> NDArray[np.int64]:
    small = image.convert("L").resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(small, np.int64)


def _pack(bits: Sequence[NDArray[np.bool_]]) -> NDArray[np.uint64]:
    packed = np.ascontiguousarray(np.packbits(np.stack(bits).reshape(len(bits), 64), axis=1))
    return packed.view(">u8")[:, 0].astype(np.uint64)


def _find_near(hashes: NDArray[np.uint64]) -> Pairs:
    pairs: Pairs = set()
    for i in range(len(hashes) - 1):
        near = count_differing_bits(hashes[i], hashes[i + 1 :]) <= MAX_BITS
        pairs |= {(i, i + 1 + int(j)) for j in np.flatnonzero(near)}
    return pairs
