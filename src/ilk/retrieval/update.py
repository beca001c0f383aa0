"""Bring a saved index up to date with its folder: new images are added, missing ones deleted."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from ilk.core.data import Features
from ilk.core.errors import InputError, OutputError
from ilk.core.progress import Progress, silent_progress
from ilk.images import escape_path
from ilk.maths.top_k import TopK
from ilk.retrieval.build import RECALL_K, RECALL_QUERIES, measure_recall
from ilk.retrieval.collection import BLOCK, Collection
from ilk.retrieval.index import Index

MIN_NEW_QUERIES = 50  # new images with which a recall is worth measuring again


@dataclass(frozen=True)
class Changes:
    """What differs between an index and its folder.

    Attributes:
        new: Positions in the collection of images that the index lacks, `[m]`.
        gone: Ids of images that the folder lacks.
        moved: Ids of images whose path or label changed, and their position in the collection.
    """

    new: tuple[int, ...]
    gone: tuple[int, ...]
    moved: tuple[tuple[int, int], ...]

    def __bool__(self) -> bool:
        return bool(self.new or self.gone or self.moved)

    def describe(self) -> str:
        """Return the changes in a sentence; "" without any."""
        parts = [
            f"{len(some):,} {word}"
            for some, word in ((self.new, "new"), (self.gone, "gone"), (self.moved, "renamed"))
            if some
        ]
        return f"the folder has changed since it was indexed: {', '.join(parts)}" if parts else ""


def find_changes(index: Index, collection: Collection) -> Changes:
    """Return what differs between an index and the images that its folder holds now.

    Raises:
        OutputError: It is the index of another folder, and no image of it is here.
    """
    new, moved, present = [], [], set()
    for position, entry in enumerate(collection.entries):
        i = index.entries.find(entry.digest)
        if i is None:
            new.append(position)
            continue
        present.add(i)
        if index.entries.by_id[i] != entry:
            moved.append((i, position))
    gone = [i for i in index.entries.by_id if i not in present]
    is_same = os.path.realpath(index.source) == os.path.realpath(collection.source)
    if gone and not present and not is_same:
        raise OutputError(
            f"the index is of {escape_path(index.source)}, and none of its {len(gone):,} images is "
            "among these; name a new folder with --index"
        )
    return Changes(tuple(new), tuple(gone), tuple(moved))


def apply_changes(
    index: Index,
    collection: Collection,
    changes: Changes,
    progress: Progress = silent_progress,
) -> None:
    """Delete what is gone, add what is new, and adopt new paths and labels.

    The projection stays as it was learned. The recall is measured again with the new images before
    they are added, if there are enough of them.
    """
    index.delete(list(changes.gone))
    for i, position in changes.moved:
        index.entries.replace(i, collection.entries[position])
    new = np.array(changes.new, np.int64)
    if not index.kind.is_exact and len(new) >= MIN_NEW_QUERIES:
        _measure_again(index, collection.take(new[:RECALL_QUERIES]))
    with progress("indexing", len(new)) as advance:
        for positions, x in collection.iterate(new):
            index.add([collection.entries[int(i)] for i in positions], x)
            advance(len(positions))


def _measure_again(index: Index, x: Features) -> None:
    """Measure the recall with features `[m, d]` of images that the index does not hold yet."""
    queries, ids = index.project(x), index.entries.list_ids()
    truth = TopK(len(queries), RECALL_K)
    try:
        for start in range(0, len(ids), BLOCK):
            part = ids[start : start + BLOCK]
            truth.update(part, queries @ index.take(part).T)
    except InputError:  # the index keeps only codes
        return
    if len(ids) >= RECALL_K:
        recall = measure_recall(index.vectors, queries, truth.ids)
        index.facts["recall"] = recall.to_dict()
