"""What else finds duplicates: perceptual hashes, and a fixed cosine on the same features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.duplicates.folders import Folder, Pair
from benchmarks.near_duplicates.hashes import find_by_hash_alone, find_by_ilk
from ilk.deduplication.evidence import HASH, Link
from ilk.deduplication.stars import connect_links
from ilk.maths.nearest_rows import to_unit

COSINES = (0.95, 0.9)


def find_by_rivals(folder: Folder, x: NDArray[np.float32]) -> dict[str, set[Pair]]:
    """Return the pairs of rows that each rival finds; `x` are the features of the rows."""
    unit = to_unit(x)
    cosine = unit @ unit.T
    first, second = np.triu_indices(len(unit), 1)
    values = cosine[first, second]
    found = {
        "DCT hash, at most 10 bits": find_by_hash_alone(folder.pictures),
        "DCT hash and thumbnails (ilk check)": find_by_ilk(folder.pictures),
    }
    for least in COSINES:
        found[f"cosine of at least {least}"] = _select(first, second, values >= least)
    best = _find_best(first, second, values, folder.true_pairs)
    found["cosine, best threshold in hindsight"] = _select(first, second, values >= best)
    return found


def _select(
    first: NDArray[np.int64], second: NDArray[np.int64], kept: NDArray[np.bool_]
) -> set[Pair]:
    return set(zip(first[kept].tolist(), second[kept].tolist(), strict=True))


def _find_best(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    values: NDArray[np.float32],
    true_pairs: set[Pair],
) -> float:
    """Return the cosine with the best F1, which only the truth tells."""
    order = np.argsort(-values)[: 20 * max(len(true_pairs), 1)]
    pairs = zip(first[order].tolist(), second[order].tolist(), strict=True)
    hits = np.cumsum([pair in true_pairs for pair in pairs])
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + len(true_pairs))
    return float(values[order[int(np.argmax(f1))]])


def group_pairs(pairs: set[Pair]) -> list[list[int]]:
    """Return the connected components of pairs."""
    return connect_links([Link(i, j, HASH) for i, j in sorted(pairs)])


def score(folder: Folder, pairs: set[Pair], groups: Sequence[Sequence[int]]) -> dict[str, float]:
    """Return precision, recall and F1 of pairs, and of groups.

    A group that is found is right if it shows one picture; a group of the truth is found if a group
    has exactly its files.
    """
    truth = folder.true_pairs
    members: dict[int, set[int]] = {}
    for row, source in enumerate(folder.source.tolist()):
        members.setdefault(source, set()).add(row)
    true_groups = {frozenset(rows) for rows in members.values() if len(rows) > 1}
    found = {frozenset(rows) for rows in groups}
    hits = len(pairs & truth)
    precision = hits / len(pairs) if pairs else 1.0
    recall = hits / len(truth) if truth else 1.0
    pure = [len({int(folder.source[row]) for row in rows}) == 1 for rows in groups]
    return {
        "precision of pairs": precision,
        "recall of pairs": recall,
        "F1 of pairs": 2 * hits / max(len(pairs) + len(truth), 1),
        "wrong pairs": float(len(pairs) - hits),
        "precision of groups": float(np.mean(pure)) if pure else 1.0,
        "recall of groups": len(found & true_groups) / max(len(true_groups), 1),
    }


def find_recalls(folder: Folder, pairs: set[Pair]) -> dict[str, float]:
    """Return the share of copies of each kind that are found with their original."""
    original = {int(s): row for row, s in enumerate(folder.source) if not folder.kind[row]}
    hits: dict[str, list[bool]] = {}
    for row, kind in enumerate(folder.kind):
        if kind:
            other = original[int(folder.source[row])]
            hits.setdefault(kind, []).append((min(row, other), max(row, other)) in pairs)
    return {kind: float(np.mean(values)) for kind, values in hits.items()}
