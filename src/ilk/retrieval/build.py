"""Build an index: learn what it needs, add the rows block by block, and measure its recall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features, Labels
from ilk.core.errors import InputError
from ilk.core.progress import Advance, Progress, silent_progress
from ilk.maths.top_k import Ids, TopK, measure_overlap
from ilk.report.formatting import format_count
from ilk.retrieval.collection import Collection
from ilk.retrieval.earned import Choice, choose_projection
from ilk.retrieval.entries import Entries
from ilk.retrieval.index import Index
from ilk.retrieval.kinds import AUTO, choose_kind, parse_kind
from ilk.retrieval.vectors.contract import Vectors, name_setting
from ilk.retrieval.vectors.projection import apply_projection

RECALL_K, RECALL_QUERIES = 10, 200
LOW_RECALL = 0.95  # below, what finds more is told
MIN_RECALL_ROWS = 100  # below, an index is not worth measuring
SAMPLE_ROWS = 20_000  # from which the rotation of hash codes is learned


def build_index(
    collection: Collection,
    kind: Any = AUTO,
    *,
    projection: str = AUTO,
    seed: int = 0,
    progress: Progress = silent_progress,
) -> Index:
    """Return the index of a collection.

    An index that is not exact holds back some rows at first, which are its queries: their nearest
    rows in the index and in truth are compared, and then they are added too.

    Args:
        collection: Images with features.
        kind: A kind of index, its text such as `HNSW(connectivity=32)`, or auto by the number of
            images.
        projection: auto, which keeps the best one only if it earns it on classes held out; none; or
            the name of one, which is then used without a trial.
        seed: Seed of samples.
        progress: Reports the number of rows that were added.

    Raises:
        InputError: There is no image, or a setting is wrong.
        UnknownName: There is no such kind or projection.
        Unavailable: The kind needs a package that is not installed.
    """
    n = len(collection)
    if not n:
        raise InputError("there is no image to be searched; an index needs at least one")
    note = ""
    if isinstance(kind, str):
        kind, note = choose_kind(n) if kind.casefold() == AUTO else (parse_kind(kind), "")
    choice = choose_projection(collection, projection, seed)
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.permutation(n)[:SAMPLE_ROWS]) if kind.needs_sample else np.zeros(0, int)
    rows = apply_projection(choice.projection, collection.take(sample.astype(np.int64)))
    dim = collection.space.dim if choice.projection is None else choice.projection.weight.shape[1]
    is_held = _hold_back(n, kind.is_exact, seed)
    order = np.argsort(is_held, kind="stable")  # ids ascend in the order in which rows are added
    entries = Entries()
    entries.add([collection.entries[i] for i in order])
    index = Index(
        collection.space,
        kind,
        kind.start(dim, rows),
        entries,
        choice.projection,
        collection.encoder,
        describe_choice(choice, note),
        source=collection.source,
        value_ranges=collection.value_ranges,
    )
    with progress("indexing", n) as advance:
        recall = _add_rows(index, collection, order, int(is_held.sum()), advance)
    if recall is not None:
        index.facts["recall"] = recall.to_dict()
    return index


def describe_choice(choice: Choice, note: str) -> dict[str, Any]:
    """Return the first facts of an index: about its projection, and a note on its kind."""
    facts: dict[str, Any] = {"projection": choice.to_dict()}
    return {**facts, "note": note} if note else facts


@dataclass(frozen=True)
class Recall:
    """Which fraction of the truly nearest rows an index finds.

    Attributes:
        value: Mean over the queries, in [0, 1].
        half_width: Half the width of its 95 % interval, by the normal distribution.
        k: Number of nearest rows.
        n_queries: Number of queries, rows that were not in the index then.
        n_rows: Number of rows in the index then.
    """

    value: float
    half_width: float
    k: int
    n_queries: int
    n_rows: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dict(vars(self))


def describe_recall(recall: dict[str, Any]) -> str:
    """Return the measured recall as a sentence."""
    low = max(0.0, recall["value"] - recall["half_width"])
    high = min(1.0, recall["value"] + recall["half_width"])
    return (
        f"recall@{recall['k']} {recall['value']:.3f} [{low:.3f}, {high:.3f}]: the fraction "
        f"that is found of the {recall['k']} nearest of {recall['n_rows']:,} images; measured "
        f"with {recall['n_queries']:,} images of this collection that were not in the index"
    )


def _hold_back(n: int, is_exact: bool, seed: int) -> NDArray[np.bool_]:
    """Return which rows are added last, after the recall was measured with them, `[n]`."""
    is_held = np.zeros(n, np.bool_)
    if not is_exact and n >= MIN_RECALL_ROWS:
        chosen = np.random.default_rng(seed).permutation(n)
        is_held[chosen[: min(RECALL_QUERIES, n // 10)]] = True
    return is_held


def _add_rows(
    index: Index, collection: Collection, order: Labels, n_held: int, advance: Advance
) -> Recall | None:
    """Add all rows in an order, the held ones last; return the recall if any are held."""
    first, last = order[: len(order) - n_held], order[len(order) - n_held :]
    ids = np.arange(len(order), dtype=np.int64)
    held = apply_projection(index.projection, collection.take(last))
    truth, n_added = TopK(n_held, RECALL_K), 0
    for _, x in collection.iterate(first):
        rows = apply_projection(index.projection, x)
        part = ids[n_added : n_added + len(rows)]
        index.vectors.add(part, rows)
        if n_held:
            truth.update(part, held @ rows.T)
        n_added += len(rows)
        advance(len(rows))
    if not n_held:
        return None
    recall = measure_recall(index.vectors, held, truth.ids)
    index.vectors.add(ids[n_added:], held)
    advance(n_held)
    return recall


def measure_recall(vectors: Vectors, queries: Features, true_ids: Ids) -> Recall:
    """Return the recall of an index for unit queries `[m, e]` with true neighbours `[m, k]`."""
    k = true_ids.shape[1]
    overlap = measure_overlap(vectors.search(queries, k)[0], true_ids)
    half = 1.96 * float(overlap.std(ddof=1)) / np.sqrt(len(overlap)) if len(overlap) > 1 else 1.0
    return Recall(float(overlap.mean()), float(half), k, len(queries), len(vectors))


def list_notes(index: Index) -> list[str]:
    """Return what is to be known of an index: its kind, recall and projection."""
    images = format_count(len(index), "image")
    size = f"{index.vectors.count_bytes() / 1e6:,.1f} MB"
    facts = [
        f"{images}, encoded by {index.space.name}; index of kind {name_setting(index.kind)}, {size}"
    ]
    facts += [str(index.facts["note"])] if index.facts.get("note") else []
    if "recall" in index.facts:
        recall = index.facts["recall"]
        is_low = recall["value"] < LOW_RECALL and index.kind.remedy
        facts.append(describe_recall(recall) + (f"; {index.kind.remedy}" if is_low else ""))
    elif not index.kind.is_exact:
        facts.append(f"recall was not measured: fewer than {MIN_RECALL_ROWS} images")
    chosen = index.facts.get("projection", {}).get("sentence")
    return [*facts, *([str(chosen)] if chosen else [])]
