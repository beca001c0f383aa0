"""How fast is each kind of index, and how many of the nearest images does it find?

Rows of 768 features, 100,000 and 1,000,000 of them, simulated (`benchmarks.search.worlds`: 1,000
clusters with 24 axes each), and CIFAR-10's 50,000 training images through MobileNetV2 (1,280
features). Queries are rows that the index does not hold: other draws of the simulation, test images
of CIFAR-10. Compared are exact search in float32 and float16, the graph (HNSW of usearch) with
several numbers of candidates, and hash codes with and without exact re-ranking: seconds to build,
bytes, queries per second one by one and a hundred at a time, and recall@10. One thread throughout
(`build_threads` says where a graph was built with two, `rows_in_graph` where the
time of 29 minutes ended before all rows were in it). The floor of exact search is the time in which
memory delivers the matrix once: its bytes over the bandwidth of a copy measured in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.search.bandwidth import measure_bandwidth
from benchmarks.search.worlds import DIM, INTRINSIC, ClusteredRows, estimate_dimension
from ilk.core.contracts import describe
from ilk.core.data import Features
from ilk.maths.nearest_rows import to_unit
from ilk.maths.top_k import Ids, TopK, measure_overlap
from ilk.retrieval import Entry, build_index, from_array
from ilk.retrieval.kinds import parse_kind

SIZES = (100_000, 1_000_000)
K, N_QUERIES, BATCH = 10, 200, 100
KINDS = (
    "Exact(dtype='float16')",
    "HashCodes(bits=64, rerank=0)",
    "HashCodes(bits=256, rerank=0)",
    "HashCodes(bits=64)",
    "HashCodes(bits=128)",
    "HashCodes(bits=256)",
)
EXPANSIONS = (32, 64, 128, 256)
MAX_BUILD_SECONDS = 900.0  # above, a graph is built with two threads
MAX_SECONDS, STEP = 1_740.0, 10_000  # no rows are added to a graph later than that
GROWTH = 14.0  # of the time to build a graph when rows become ten times as many


def run(small: bool = False) -> dict[str, Any]:
    """Return one entry per collection, with a row per kind of index."""
    bandwidth = measure_bandwidth(2**24 if small else 2**28)
    collections, seconds = [], 0.0
    deadline = time.perf_counter() + MAX_SECONDS
    for n in (2_000,) if small else SIZES:
        if n > 500_000:  # last, with the time that is left
            collections.append(_compare_photos(bandwidth, deadline))
        world = ClusteredRows(0)
        name = f"simulated, {n:,} x {DIM}, {INTRINSIC} axes per cluster"
        threads = 2 if GROWTH * seconds > MAX_BUILD_SECONDS else 1
        source = Source(name, world.iterate(n), partial(world.draw, N_QUERIES))
        entry = _compare(source, bandwidth, threads, deadline)
        seconds = next(r for r in entry["rows"] if r["kind"].startswith("HNSW"))["build_seconds"]
        collections.append(entry)
    return {
        "bandwidth_bytes_per_second": bandwidth,
        "collections": collections,
        "whole_call": _time_whole_call(1_000 if small else SIZES[0]),
        "findings": _describe(collections),
    }


@dataclass(frozen=True, eq=False)
class Source:
    """Rows to be searched, and queries.

    Attributes:
        name: What it is.
        blocks: Unit rows, block by block.
        draw: Returns unit queries, `[N_QUERIES, d]`, after the rows were read.
    """

    name: str
    blocks: Iterable[Features]
    draw: Callable[[], Features]


def _compare_photos(bandwidth: float, deadline: float) -> dict[str, Any]:
    from benchmarks.datasets import read_cifar

    rows, queries = to_unit(read_cifar("train").x), to_unit(read_cifar("test").x)
    order = np.random.default_rng(0).permutation(len(queries))[:N_QUERIES]
    blocks = (rows[i : i + 20_000] for i in range(0, len(rows), 20_000))
    source = Source("CIFAR-10, 50,000 x 1,280", blocks, lambda: queries[order])
    return _compare(source, bandwidth, 1, deadline)


def _compare(source: Source, bandwidth: float, threads: int, deadline: float) -> dict[str, Any]:
    """Return the measurements of all kinds of index on one collection."""
    exact, n, start = None, 0, 0.0
    for block in source.blocks:
        exact = exact or parse_kind("Exact").start(block.shape[1], block[:0])
        begun = time.perf_counter()
        exact.add(np.arange(n, n + len(block)), block)
        start += time.perf_counter() - begun
        n += len(block)
    assert exact is not None
    queries = source.draw()
    truth, similarity = exact.search(queries, K)
    parts = [(part.ids, part.rows) for part in exact.segments.parts]
    matrix = sum(rows.nbytes for _, rows in parts)
    floor = matrix / bandwidth
    rows = [_measure(exact, "Exact", queries, truth, start) | {"floor_seconds": floor}]
    rows[0]["times_floor"] = 1 / rows[0]["queries_per_second"] / floor
    sample = _take_sample(parts, n)
    for text in KINDS[: 3 if n < 10_000 else None]:
        kind = parse_kind(text)
        begun = time.perf_counter()
        vectors = kind.start(queries.shape[1], sample)
        for ids, x in parts:
            vectors.add(ids, x)
        built = time.perf_counter() - begun
        rows.append(_measure(vectors, describe(kind), queries, truth, built))
        del vectors
    rows += _measure_graph(parts, queries, truth, threads, deadline)
    best = next(r for r in rows if r["kind"] == "Exact")["queries_per_second"]
    for row in rows:
        row["times_exact"] = row["queries_per_second"] / best
    return {
        "name": source.name,
        "rows": rows,
        "n": n,
        "features": int(queries.shape[1]),
        "intrinsic_dimension": estimate_dimension(similarity),
        "similarity_of_the_nearest": float(similarity[:, 0].mean()),
        "similarity_of_the_tenth": float(similarity[:, K - 1].mean()),
    }


def _measure_graph(
    parts: list[tuple[Ids, Features]],
    queries: Features,
    truth: Ids,
    threads: int,
    deadline: float,
) -> list[dict[str, Any]]:
    """Build a graph once, of fewer rows if time runs out; ask it with several expansions."""
    kind = parse_kind(f"HNSW(threads={threads})")
    graph, begun = kind.start(queries.shape[1], queries[:0]), time.perf_counter()
    blocks = (
        (ids[i : i + STEP], x[i : i + STEP]) for ids, x in parts for i in range(0, len(ids), STEP)
    )
    for ids, x in blocks:
        if time.perf_counter() > deadline:
            break
        graph.add(ids, x)
    built = time.perf_counter() - begun
    if len(graph) < sum(len(ids) for ids, _ in parts):
        truth = _search_first(parts, queries, len(graph))
    graph.threads = 1
    rows = []
    for expansion in EXPANSIONS:
        graph.graph.expansion_search = expansion
        name = f"HNSW(expansion_search={expansion})"
        name = "HNSW" if expansion == kind.expansion_search else name
        row = _measure(graph, name, queries, truth, built)
        rows.append(row | {"build_threads": threads, "rows_in_graph": len(graph)})
    return rows


def _search_first(parts: list[tuple[Ids, Features]], queries: Features, n: int) -> Ids:
    """Return the ids `[m, K]` of the truly nearest of the first n rows."""
    best = TopK(len(queries), K)
    for ids, x in parts:
        for i in range(0, min(len(ids), n - int(ids[0])), STEP):
            block = slice(i, min(i + STEP, n - int(ids[0])))
            best.update(ids[block], queries @ x[block].T)
    return best.ids


def _take_sample(parts: list[tuple[Ids, Features]], n: int, size: int = 20_000) -> Features:
    """Return rows from which the rotation of hash codes is learned, as `build_index` takes them."""
    chosen = np.sort(np.random.default_rng(0).permutation(n)[:size])
    rows = [x[chosen[(chosen >= ids[0]) & (chosen <= ids[-1])] - ids[0]] for ids, x in parts]
    return np.concatenate(rows)


def _measure(
    vectors: Any, name: str, queries: Features, truth: Ids, built: float
) -> dict[str, Any]:
    """Return speed and recall of one index."""
    found, _ = vectors.search(queries[:BATCH], K)  # also warms up
    begun = time.perf_counter()
    found = np.concatenate([vectors.search(queries[i : i + BATCH], K)[0] for i in (0, BATCH)])
    batched = (time.perf_counter() - begun) / len(queries)
    singles, begun = 0, time.perf_counter()
    while singles < len(queries) and (singles < 10 or time.perf_counter() - begun < 5):
        vectors.search(queries[singles : singles + 1], K)
        singles += 1
    single = (time.perf_counter() - begun) / singles
    overlap = measure_overlap(found, truth)
    return {
        "kind": name,
        "build_seconds": built,
        "bytes": vectors.count_bytes(),
        "queries_per_second": 1 / single,
        "queries_per_second_in_batches": 1 / batched,
        "recall_at_10": float(overlap.mean()),
        "recall_half_width": float(1.96 * overlap.std(ddof=1) / np.sqrt(len(overlap))),
    }


def _time_whole_call(n: int) -> dict[str, Any]:
    """Time what a user calls: `build_index` with its recall, and `Index.search` by ids."""
    world = ClusteredRows(1)
    x = np.concatenate(list(world.iterate(n)))
    entries = [Entry(f"{i:064x}", f"image {i}") for i in range(n)]
    from ilk.core.space import FeatureSpace

    collection = from_array(x, entries, FeatureSpace("simulated", "simulated", DIM))
    times = {}
    for text in ("Exact", "HashCodes"):
        begun = time.perf_counter()
        index = build_index(collection, text, projection="none")
        built = time.perf_counter() - begun
        queries = world.draw(50)
        begun = time.perf_counter()
        for query in queries:
            index.search(query[None], K)
        times[text] = {
            "build_seconds": built,
            "queries_per_second": len(queries) / (time.perf_counter() - begun),
            "printed_recall": index.facts.get("recall"),
        }
    return {"n": n, "kinds": times}


def _describe(collections: list[dict[str, Any]]) -> list[str]:
    """Return one sentence per collection and kind."""
    return [
        f"{entry['name']}: {row['kind']} answers {row['queries_per_second']:,.1f} queries per "
        f"second one by one, {row['queries_per_second_in_batches']:,.0f} in batches, recall@10 "
        f"{row['recall_at_10']:.3f}, {row['bytes'] / 1e6:,.0f} MB, built in "
        f"{row['build_seconds']:,.0f} s"
        for entry in collections
        for row in entry["rows"]
    ]
