"""The nearest entries of a memory, with exact distances, and how usual the nearest one is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


def find_nearest(
    x: Rows,
    memory: Rows,
    owner: NDArray[np.int64] | None = None,
    entry_owner: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the position `[n]` of the entry nearest to each row, and its distance `[n]`.

    The entry is found by products, which round, and its distance is computed from the difference.
    It is infinite where every entry is a row's own.

    Args:
        x: Rows, `[n, c]`.
        memory: Entries, `[p, c]`.
        owner: Owner of each row, `[n]`; None compares all rows with all entries.
        entry_owner: Owner of each entry, `[p]`; a row is not compared with entries of its owner.
    """
    centre = memory.mean(0, dtype=np.float64).astype(np.float32)  # short vectors round less
    y, entries = x - centre, memory - centre
    squares = np.einsum("ij,ij->i", entries, entries) / 2
    closeness = y @ entries.T
    closeness -= squares
    if owner is not None and entry_owner is not None:
        closeness[owner[:, None] == entry_owner] = -np.inf
    nearest = np.argmax(closeness, axis=1)
    difference = np.asarray(x, np.float64) - memory[nearest]
    distance = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    is_alone = np.isneginf(closeness[np.arange(len(x)), nearest]) if len(x) else np.zeros(0, bool)
    return nearest, np.where(is_alone, np.inf, distance)


def weigh_by_neighbours(
    row: Rows, memory: Rows, nearest: int, neighbours: int, own: NDArray[np.bool_] | None = None
) -> float:
    """Return the weight of a row's distance, from 0 to 1: equation 7 of arXiv 2106.08265.

    It is 1 minus the share of the nearest entry in a softmax of distances over the entries that are
    nearest to that entry, which include it: low where the row lies between usual entries. With
    fewer than two of them it is 1.

    Args:
        row: A row, `[c]`.
        memory: Entries, `[p, c]`.
        nearest: Position of the entry nearest to the row.
        neighbours: Number of entries near that entry, at most.
        own: Whether an entry is left out, `[p]`.
    """
    gaps = np.linalg.norm(memory - memory[nearest], axis=1)
    if own is not None:
        gaps = np.where(own, np.inf, gaps)
    b = min(neighbours, int(np.isfinite(gaps).sum()))
    if b < 2:
        return 1.0
    gaps[nearest] = -1.0  # first, whatever else lies at the same place
    around = np.argpartition(gaps, b - 1)[:b]
    distance = np.linalg.norm(np.asarray(row, np.float64) - memory[around], axis=1)
    own_distance = float(np.linalg.norm(np.asarray(row, np.float64) - memory[nearest]))
    return 1.0 - 1.0 / float(np.exp(np.minimum(distance - own_distance, 700)).sum())
