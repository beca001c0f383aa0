"""The nearest of very many rows to a few, when the rows are read block by block.

The nearest rows of a block and those of all blocks before it are merged, so that the result is that
of all rows at once. Distances are float64 differences for the rows that a float32 product selects,
as in `ilk.methods.k_nearest`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features, Labels

EXTRA = 16  # rows beyond k that a product selects and differences rank
ROUNDING_ERRORS = 8  # times the typical error of a float32 product: what may still be nearer
MAX_QUERIES = 1024  # rows whose distances to a block are in memory at a time
MAX_DIFFERENCES = 2**22  # differences in memory at a time: 32 MB


def find_nearest_streamed(
    queries: Features,
    own: Labels,
    blocks: Iterable[tuple[Labels, Features]],
    group: Labels,
    k: int,
    centre: NDArray[np.floating],
) -> tuple[Labels, NDArray[np.float64]]:
    """Return positions and squared distances of the `k` nearest rows of other groups, `[m, k]`.

    The nearest comes first, and ties go to the earlier row. A position is -1, and its distance inf,
    where there are fewer rows.

    Args:
        queries: Features, `[m, d]`.
        own: Group number of each query, `[m]`; -1 leaves out no row.
        blocks: Positions `[b]`, ascending over all blocks, and features `[b, d]` of the rows.
        group: Group number of each row, `[n]`, from 0.
        k: Number of neighbours.
        centre: Subtracted from both, so that products keep their digits, `[d]`.
    """
    shift = np.asarray(centre, np.float32)
    z = np.asarray(queries, np.float32) - shift
    z_norms = np.einsum("nd,nd->n", z, z)
    index = np.full((len(z), k), -1, np.int64)
    distance = np.full((len(z), k), np.inf)
    for positions, x in blocks:
        rows = np.asarray(x, np.float32) - shift
        norms = np.einsum("nd,nd->n", rows, rows)
        error = ROUNDING_ERRORS * np.sqrt(z.shape[1]) * np.finfo(np.float32).eps
        for start in range(0, len(z), MAX_QUERIES):
            part = slice(start, start + MAX_QUERIES)
            squared = norms + z_norms[part, None] - 2 * z[part] @ rows.T
            squared[own[part, None] == group[positions]] = np.inf
            m = min(len(rows), k + EXTRA)
            found = np.argpartition(squared, m - 1, axis=1)[:, :m]
            near = np.take_along_axis(squared, found, 1)
            slack = error * (norms.max() + z_norms[part])
            is_near = near <= (distance[part, -1] + slack)[:, None]
            is_near &= np.isfinite(near)
            exact = _measure(z[part], rows, found, is_near)
            both = np.hstack([distance[part], exact])
            names = np.hstack([index[part], positions[found]])
            order = np.lexsort((names, both), axis=1)[:, :k]
            distance[part] = np.take_along_axis(both, order, 1)
            index[part] = np.take_along_axis(names, order, 1)
    index[np.isinf(distance)] = -1
    return index, distance


def _measure(
    z: Features, rows: Features, found: Labels, wanted: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return squared distances of `z [m, d]` to the rows at `found [m, j]`; inf if not wanted."""
    out = np.full(found.shape, np.inf)
    i, j = np.nonzero(wanted)
    step = max(1, MAX_DIFFERENCES // z.shape[1])
    for at in range(0, len(i), step):
        a, b = i[at : at + step], j[at : at + step]
        differences = z[a].astype(np.float64) - rows[found[a, b]]
        out[a, b] = np.einsum("nd,nd->n", differences, differences)
    return out
