"""Measured in a process of its own: one pass over shards against the bare products."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ilk.core.data import one_hot
from ilk.fitting.out_of_core.streamed_rows import StreamedRows
from ilk.maths.streamed_statistics import StreamedStatistics
from ilk.methods.gda import GDA
from ilk.methods.naive_bayes import NaiveBayes
from ilk.methods.ridge import Ridge
from ilk.shards.features import ShardedFeatures

N_PARTS = 5


def measure(folder: Path) -> dict[str, Any]:
    """Return seconds of the steps of one pass, and of `X'X` and `X'Y` on the same blocks."""
    features = ShardedFeatures.open(folder)
    n, d, classes = features.n, features.d, features.classes
    y, k = features.y, len(classes)
    part = np.random.default_rng(0).integers(0, N_PARTS, n)
    features.is_used.any()  # read before the clock starts, as labels are
    sums, seconds = StreamedStatistics(k, d, N_PARTS), dict.fromkeys(("read", "bare", "add"), 0.0)
    gram, cross = np.zeros((d, d)), np.zeros((d, k))
    blocks = features.iterate()
    while True:
        at = time.perf_counter()
        rows, x = next(blocks, (None, None))
        seconds["read"] += time.perf_counter() - at
        if rows is None or x is None:
            break
        targets = one_hot(y[rows], k, np.float32)
        at = time.perf_counter()
        gram += x.T @ x
        cross += x.T @ targets
        seconds["bare"] += time.perf_counter() - at
        at = time.perf_counter()
        sums.add(x, y[rows], part[rows])
        seconds["add"] += time.perf_counter() - at
    at = time.perf_counter()
    parts = dict(enumerate(sums.to_parts()))
    none = np.full(n, -1)
    stream = StreamedRows(features, np.arange(n), y, none, classes, part, parts, 2**30)
    fits = {}
    for method in (GDA(), Ridge(), NaiveBayes()):
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
            "gigaflops_of_the_bare_products": flops / seconds["bare"] / 1e9,
        },
        "speed_of_the_pass_to_bare_products": seconds["bare"] / total,
        "speed_of_the_sums_to_bare_products": seconds["bare"] / seconds["add"],
        "peak_gigabytes": read_peak() / 1e9,
    }


def measure_memory(folder: Path) -> dict[str, Any]:
    """Return the peak memory of a process that only takes the pass and fits GDA and ridge."""
    features = ShardedFeatures.open(folder)
    n, y, classes = features.n, features.y, features.classes
    part = np.random.default_rng(0).integers(0, N_PARTS, n)
    sums = StreamedStatistics(len(classes), features.d, N_PARTS)
    started = time.perf_counter()
    for rows, x in features.iterate():
        sums.add(x, y[rows], part[rows])
    parts = dict(enumerate(sums.to_parts()))
    none = np.full(n, -1)
    stream = StreamedRows(features, np.arange(n), y, none, classes, part, parts, 2**30)
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
    measured = measure_memory(Path(folder)) if what == "memory" else measure(Path(folder))
    print(json.dumps(measured))
