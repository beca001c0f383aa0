"""Pairs of pictures that may be the same: near in thumbnails, or nearest in features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.maths.nearest_rows import find_nearest_rows, to_unit

N_NEIGHBOURS = 6  # per picture
MAX_DIRECT = 20_000  # pictures whose features are compared in full width
PROJECTED_WIDTH, N_PROJECTED = 128, 24  # features and neighbours of a larger number of pictures
SAMPLE = 5_000  # rows from which the axes come
MAX_PAIRS = 30_000  # that are looked at, the most similar ones: some minutes


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pairs of pictures to look at.

    Attributes:
        pairs: Positions, `[m, 2]`, the lower first, each pair once.
        codes: Their orientations, `[m, 2]`, see `ilk.deduplication.orientations`.
        is_near: Whether their thumbnails are nearly the same, `[m]`.
        n_left_out: Number of pairs whose features are similar enough and that are not looked at.
    """

    pairs: NDArray[np.int64]
    codes: NDArray[np.int64]
    is_near: NDArray[np.bool_]
    n_left_out: int

    def __len__(self) -> int:
        return len(self.pairs)


def find_similar_pairs(
    x: NDArray[np.float32],
    min_cosine: float,
    advance: Callable[[int], object] = lambda _n: None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return pairs of rows `[m, 2]`, one among the nearest of the other, and their cosines `[m]`.

    A row counts `N_NEIGHBOURS` others. Of more than `MAX_DIRECT` rows, the nearest are found in
    `PROJECTED_WIDTH` principal axes and compared in full width.

    Args:
        x: Features with norm 1, `[n, d]`.
        min_cosine: Similarity below which a pair does not count.
        advance: Called with the number of rows that are done.
    """
    n = len(x)
    own = np.arange(n)
    if n <= MAX_DIRECT or x.shape[1] <= 2 * PROJECTED_WIDTH:
        index, similarity = find_nearest_rows(x, x, N_NEIGHBOURS, own=own, advance=advance)
    else:
        index = find_nearest_rows(_project(x), _project(x), N_PROJECTED, own=own, advance=advance)[
            0
        ]
        index, similarity = _rerank(x, index)
    first, place = np.nonzero((index >= 0) & (similarity >= min_cosine))
    pairs = np.sort(np.column_stack([first, index[first, place]]), axis=1)
    unique, where = np.unique(pairs, axis=0, return_index=True)
    return unique, similarity[first, place][where]


def join_candidates(
    near: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    similar: tuple[NDArray[np.int64], NDArray[np.float32]],
) -> Candidates:
    """Return the pairs of both kinds, each once; of too many, those with the largest cosines.

    Args:
        near: First, second `[m]` and orientations `[m, 2]`, as `find_oriented_pairs` returns them.
        similar: Pairs `[l, 2]` and cosines `[l]`, as `find_similar_pairs` returns them.
    """
    pairs = np.column_stack(near[:2]).reshape(-1, 2)
    known = {(i, j) for i, j in pairs.tolist()}
    new = np.array([(i, j) not in known for i, j in similar[0].tolist()], bool)
    others, cosines = similar[0][new], similar[1][new]
    room = max(MAX_PAIRS - len(pairs), 0)
    n_left_out = max(len(others) - room, 0)
    if n_left_out:
        kept = np.sort(np.argsort(-cosines, kind="stable")[:room])
        others = others[kept]
    return Candidates(
        np.concatenate([pairs, others.reshape(-1, 2)]),
        np.concatenate([near[2], np.zeros_like(others).reshape(-1, 2)]),
        np.arange(len(pairs) + len(others)) < len(pairs),
        n_left_out,
    )


def _project(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scores of rows in the main axes of a sample of them."""
    sample = x[np.random.default_rng(0).permutation(len(x))[:SAMPLE]]
    products = sample.T @ sample
    axes = np.linalg.eigh(products.astype(np.float64))[1][:, -PROJECTED_WIDTH:]
    return to_unit(x @ axes.astype(np.float32))


def _rerank(
    x: NDArray[np.float32], index: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the nearest `N_NEIGHBOURS` of each row among `index [n, k]`, by all features."""
    similarity = np.full(index.shape, -np.inf, np.float32)
    for start in range(0, len(x), 256):
        rows = slice(start, start + 256)
        similarity[rows] = np.einsum("id,ikd->ik", x[rows], x[index[rows]])
    similarity[index < 0] = -np.inf
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :N_NEIGHBOURS]
    return np.take_along_axis(index, order, 1), np.take_along_axis(similarity, order, 1)
