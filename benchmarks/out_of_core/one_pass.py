"""Measured in a process of its own: one pass over shards against the bare products."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ilk.core.data import one_hot
from ilk.fitting.out_of_core.mapped import MappedFeatures
from ilk.fitting.out_of_core.streamed_rows import StreamedRows
from ilk.maths.streamed_statistics import StreamedStatistics
from ilk.methods.gda import GDA
from ilk.methods.ridge import Ridge
from ilk.shards.features import ShardedFeatures

N_PARTS = 5


def open_stream(folder: Path, mapped: bool) -> StreamedRows:
    """Return all rows of a shard folder as a stream whose statistics are not summed yet."""
    features = ShardedFeatures.open(folder)
    source: Any = features
    if mapped:
        source = MappedFeatures(features.memory_map(), features.is_used)
    n = features.n
    part = np.random.default_rng(0).integers(0, N_PARTS, n)
    none = np.full(n, -1)
    return StreamedRows(source, np.arange(n), features.y, none, features.classes, part, {}, 2**30)


def measure(folder: Path, mapped: bool) -> dict[str, Any]:
    """Return seconds of the steps of one pass, and of `X'X` and `X'Y` on the same blocks."""
    at = time.perf_counter()
    stream = open_stream(folder, mapped)
    seconds = {"open": time.perf_counter() - at, "read": 0.0, "bare": 0.0, "add": 0.0}
    n, d, k = len(stream.y), stream.d, len(stream.classes)
    sums = StreamedStatistics(k, d, N_PARTS)
    gram, cross = np.zeros((d, d)), np.zeros((d, k))
    blocks = stream.iterate_stored()
    while True:
        at = time.perf_counter()
        rows, stored = next(blocks, (None, None))
        seconds["read"] += time.perf_counter() - at
        if rows is None or stored is None:
            break
        at = time.perf_counter()
        sums.add(stored, stream.y[rows], stream.part[rows])
        seconds["add"] += time.perf_counter() - at
        x, targets = np.asarray(stored, np.float32), one_hot(stream.y[rows], k, np.float32)
        at = time.perf_counter()
        gram += x.T @ x
        cross += x.T @ targets
        seconds["bare"] += time.perf_counter() - at
    at = time.perf_counter()
    stream = replace(stream, part_statistics=dict(enumerate(sums.to_parts())))
    fits = {}
    for method in (GDA(), Ridge()):
        started = time.perf_counter()
        method.fit_stream(stream)
        fits[type(method).__name__] = time.perf_counter() - started
    seconds["solve"] = time.perf_counter() - at
    total = seconds["read"] + seconds["add"] + seconds["solve"]
    flops = float(n) * d * (d + 1) + 2.0 * n * d * k  # X'X is symmetric
    return {
        "rows": n,
        "seconds": {**seconds, "pass": total},
        "fit_seconds": fits,
        "floor": {
            "flops": flops,
            "bytes": 2.0 * n * d,
            "gigaflops_per_second_of_the_bare_products": flops / seconds["bare"] / 1e9,
            "gigaflops_per_second_of_the_pass": flops / total / 1e9,
        },
        "speed_of_the_pass_to_bare_products": seconds["bare"] / total,
        "speed_of_the_sums_to_bare_products": seconds["bare"] / (seconds["read"] + seconds["add"]),
    }


def measure_memory(folder: Path) -> dict[str, Any]:
    """Return the peak memory of a process that only takes the pass and fits GDA and ridge."""
    stream = open_stream(folder, mapped=True)
    started = time.perf_counter()
    sums = StreamedStatistics(len(stream.classes), stream.d, N_PARTS)
    for rows, x in stream.iterate_stored():
        sums.add(x, stream.y[rows], stream.part[rows])
    stream = replace(stream, part_statistics=dict(enumerate(sums.to_parts())))
    for method in (GDA(), Ridge()):
        method.fit_stream(stream)
    return {"peak_gigabytes": read_peak() / 1e9, "seconds": time.perf_counter() - started}


def read_peak() -> int:
    """Return the peak resident memory of this process in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would include the memory of the parent at the fork
        lines = status.read_text().splitlines()
        return next(int(x.split()[1]) * 1024 for x in lines if x.startswith("VmHWM"))
    import resource  # not available on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(what: str, folder: str) -> None:
    """Print what is measured as JSON."""
    home = Path(folder)
    print(json.dumps(measure_memory(home) if what == "memory" else measure(home, what == "mapped")))
