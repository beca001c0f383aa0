"""The nearest entries of a memory, with exact distances, and how usual the nearest one is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


def find_nearest(x: Rows, memory: Rows) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the position `[n]` of the entry nearest to each row, and its distance `[n]`.

    The entry is found by products, which round, and its distance is computed from the difference.

    Args:
        x: Rows, `[n, c]`.
        memory: Entries, `[p, c]`.
    """
    centre = memory.mean(0, dtype=np.float64).astype(np.float32)  # short vectors round less
    entries = memory - centre
    closeness = (x - centre) @ entries.T - np.einsum("ij,ij->i", entries, entries) / 2
    nearest = np.argmax(closeness, axis=1)
    difference = np.asarray(x, np.float64) - memory[nearest]
    return nearest, np.sqrt(np.einsum("ij,ij->i", difference, difference))


def weigh_by_neighbours(row: Rows, memory: Rows, nearest: int, neighbours: int) -> float:
    """Return the weight of a row's distance, from 0 to 1: equation 7 of arXiv 2106.08265.

    It is 1 minus the share of the nearest entry in a softmax of distances over the entries that are
    nearest to that entry, which include it: low where the row lies between usual entries. With
    fewer than two of them it is 1.

    Args:
        row: A row, `[c]`.
        memory: Entries, `[p, c]`.
        nearest: Position of the entry nearest to the row.
        neighbours: Number of entries near that entry, at most.
    """
    b = min(neighbours, len(memory))
    if b < 2:
        return 1.0
    gaps = np.linalg.norm(memory - memory[nearest], axis=1)
    gaps[nearest] = -1.0  # first, whatever else lies at the same place
    around = np.argpartition(gaps, b - 1)[:b]
    distance = np.linalg.norm(np.asarray(row, np.float64) - memory[around], axis=1)
    own_distance = float(np.linalg.norm(np.asarray(row, np.float64) - memory[nearest]))
    return 1.0 - 1.0 / float(np.exp(np.minimum(distance - own_distance, 700)).sum())
