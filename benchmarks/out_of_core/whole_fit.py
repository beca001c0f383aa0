"""Measured in a process of its own: `ilk.fit` on a shard folder to the end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ilk
from benchmarks.out_of_core.one_pass import read_peak
from ilk.core.progress import Advance
from ilk.store import Store


def measure(folder: Path, memory: float) -> dict[str, Any]:
    """Return wall time, stages, peak memory and the leaderboard of a fit with its defaults."""
    stages: dict[str, float] = {}
    started = time.perf_counter()

    @contextmanager
    def progress(name: str, _total: int) -> Iterator[Advance]:
        at = time.perf_counter()
        yield lambda _n: None
        stages[name] = stages.get(name, 0.0) + time.perf_counter() - at

    store = Store(folder.with_name(f"{folder.name}.sqlite"))
    classifier = ilk.fit(folder, store=store, memory=memory, progress=progress)
    at = time.perf_counter()
    classifier.save(folder.with_name(f"{folder.name}-model"))
    stages["saving"] = time.perf_counter() - at
    seconds = time.perf_counter() - started
    stages["the rest"] = seconds - sum(stages.values())
    board = classifier.metadata["leaderboard"]
    evaluation = classifier.metadata["metrics"]["evaluation"]
    return {
        "seconds": seconds,
        "stages": stages,
        "peak_gigabytes": read_peak() / 1e9,
        "memory_limit_gigabytes": memory,
        "winner": board["winner"]["method"],
        "leaderboard": [
            {
                "method": row["method"],
                "accuracy": row["scores"] and row["scores"]["accuracy"]["value"],
                "seconds": row["seconds"],
                "note": row["note"],
            }
            for row in board["results"]
        ],
        "held_out": {name: evaluation[name] for name in ("n", "accuracy", "log_loss", "coverage")},
        "samples": classifier.metadata["samples"],
    }


def main(folder: str, memory: str) -> None:
    """Print what is measured as JSON."""
    print(json.dumps(measure(Path(folder), float(memory))))
