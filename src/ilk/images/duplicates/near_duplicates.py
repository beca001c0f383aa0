"""Find pictures that are nearly the same: resized, recompressed, cropped a little, brightened.

Two pictures are nearly the same if their perceptual hashes differ in at most `MAX_BITS` bits and
their thumbnails, standardized for brightness and contrast, are close: closer than `MAX_DISTANCE`,
and closer than `SHARE` of the distance from either to its `RANK`-th nearest picture. Where many
pictures look alike, such as X-rays or digits, only much closer ones are near-duplicates.

Candidates are found by the pigeonhole principle (Mohammad Norouzi, Ali Punjani, David Fleet, 2012,
Fast Search in Hamming Space with Multi-Index Hashing): of `MAX_BITS` + 1 bands of bits, hashes that
differ in at most `MAX_BITS` bits share one. A picture is compared with at most `WINDOW` others per
band, so the cost grows in proportion to the number of pictures. Pictures without contrast, such as
a single colour, take no part: only their pixels could tell whether they are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ilk.images.duplicates.perceptual_hash import (
    N_BITS,
    Hashes,
    Thumbnails,
    compute_hashes,
    count_differing_bits,
    measure_contrast,
)
from ilk.images.inspection.pixel_summary import SIDE

MAX_BITS = 10
MAX_DISTANCE = 0.4  # between unit vectors: a correlation of 0.92
RANK, SHARE = 32, 1 / 3
SAME_DISTANCE = 0.03  # what the mildest compression changes: nearer pictures are always reported
MIN_CONTRAST = 2.0  # grey levels
WINDOW = 2048
N_REFERENCES = 4096  # pictures among which the `RANK`-th nearest is looked for
BLOCK = 256  # hashes that are compared with others at a time
MAX_CANDIDATES = 24  # per picture and band
PER_BAND = 8  # pairs that are kept per picture and band: more tell no more

Positions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class NearDuplicates:
    """Pairs of pictures that are nearly the same, nearest first.

    Attributes:
        first: Position of one picture of each pair, `[m]`.
        second: That of the other, `[m]`, greater than `first`.
        distance: Distance of their standardized thumbnails, `[m]`, in [0, 2].
        bits: Number of bits in which their hashes differ, `[m]`, 0 to 64.
    """

    first: Positions
    second: Positions
    distance: NDArray[np.float64]
    bits: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first)


def find_near_duplicates(thumbnails: Thumbnails) -> NearDuplicates:
    """Return the pairs of nearly the same pictures.

    Args:
        thumbnails: As in `ilk.images.inspection.pixel_summary`, `[n, SIDE, SIDE, 3]`.
    """
    rows = np.flatnonzero(measure_contrast(thumbnails) >= MIN_CONTRAST)
    hashes, x = compute_hashes(thumbnails[rows]), standardize(thumbnails[rows])
    first, second, distances = _find_close_pairs(hashes, x)
    involved, index = np.unique(np.concatenate([first, second]), return_inverse=True)
    limit = SHARE * measure_typical_distances(x, involved)[index]
    limits = np.maximum(np.minimum(*np.split(limit, 2)), SAME_DISTANCE)
    near = np.flatnonzero(distances <= limits)
    near = near[np.lexsort((second[near], first[near], distances[near]))]
    bits = count_differing_bits(hashes[first[near]], hashes[second[near]]).astype(np.int64)
    return NearDuplicates(rows[first[near]], rows[second[near]], distances[near], bits)


def standardize(thumbnails: Thumbnails) -> NDArray[np.float32]:
    """Return thumbnails at half their size as unit vectors `[n, d]` with mean 0."""
    n, half = len(thumbnails), SIDE // 2
    cells = thumbnails.reshape(n, half, 2, half, 2, 3).sum((2, 4), dtype=np.uint16)
    flat = cells.reshape(n, half * half * 3).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(norm, 1e-6), np.float32)


def measure_typical_distances(x: NDArray[np.float32], rows: Positions) -> NDArray[np.float64]:
    """Return the distance of `rows` to their `RANK`-th nearest pictures, `[m]`; inf for too few.

    Of fewer than four times as many pictures, it is that to the nearest quarter; of more than
    `N_REFERENCES`, it is among a random sample of that size.

    Args:
        x: Standardized thumbnails, `[n, d]`.
        rows: Positions, `[m]`.
    """
    n = len(x)
    if n < 8 or not len(rows):
        return np.full(len(rows), np.inf)
    references = x[np.random.default_rng(0).permutation(n)[:N_REFERENCES]]
    rank = min(RANK, n // 4)  # the nearest of all may be the picture itself
    out = np.empty(len(rows))
    for start in range(0, len(rows), BLOCK):
        products = x[rows[start : start + BLOCK]] @ references.T
        out[start : start + BLOCK] = np.partition(products, -rank - 1, axis=1)[:, -rank - 1]
    return np.sqrt(np.maximum(2 - 2 * out, 0))


def _find_close_pairs(
    hashes: Hashes, x: NDArray[np.float32]
) -> tuple[Positions, Positions, NDArray[np.float64]]:
    """Return pairs that both measures allow, each once, and their distances, all `[m]`."""
    keys: list[Positions] = []
    distances: list[NDArray[np.float64]] = []
    for rows, others in _iter_candidates(hashes):
        distance = np.sqrt(((x[rows] - x[others]) ** 2).sum(1, dtype=np.float64))
        close = _take_nearest(rows, distance)
        low, high = np.minimum(rows, others)[close], np.maximum(rows, others)[close]
        keys.append(low * len(x) + high)
        distances.append(distance[close])
    if not keys:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    unique, index = np.unique(np.concatenate(keys), return_index=True)
    first, second = np.divmod(unique, len(x))
    return first, second, np.concatenate(distances)[index]


def _take_nearest(rows: Positions, distance: NDArray[np.float64]) -> Positions:
    """Return which of the pairs `[m]` are close and among the `PER_BAND` nearest of their row."""
    order = np.lexsort((distance, rows))
    order = order[distance[order] <= MAX_DISTANCE]
    sorted_rows = rows[order]
    rank = np.arange(len(order)) - np.searchsorted(sorted_rows, sorted_rows)
    return np.asarray(order[rank < PER_BAND])


def _iter_candidates(hashes: Hashes) -> Iterator[tuple[Positions, Positions]]:
    """Yield pairs of positions `[m]` whose hashes differ in few bits; some come more than once."""
    edges = np.linspace(0, N_BITS, MAX_BITS + 2).astype(np.int64)
    for low, high in pairwise(edges.tolist()):
        key = (hashes >> np.uint64(low)) & np.uint64(2 ** (high - low) - 1)
        order = np.lexsort((hashes, key))
        for bucket in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
            yield from _compare_bucket(hashes, bucket)


def _compare_bucket(hashes: Hashes, bucket: Positions) -> Iterator[tuple[Positions, Positions]]:
    """Yield the pairs of a bucket, sorted by hash, that are near and at most `WINDOW` apart."""
    for start in range(0, len(bucket) - 1, BLOCK):
        rows, others = bucket[start : start + BLOCK], bucket[start + 1 : start + BLOCK + WINDOW]
        is_near = count_differing_bits(hashes[rows][:, None], hashes[others]) <= MAX_BITS
        is_near &= np.arange(len(others)) >= np.arange(len(rows))[:, None]  # each pair once
        if is_near.sum() > MAX_CANDIDATES * len(rows):
            is_near &= np.cumsum(is_near, axis=1) <= MAX_CANDIDATES
        i, j = np.nonzero(is_near)
        if len(i):
            yield rows[i], others[j]
