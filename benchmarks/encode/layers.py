"""Speed and page faults of the embedded network on torch, in a process of its own.

    python -m benchmarks.encode.layers keep|release SECONDS

The setting of the allocator cannot be undone, so each one has its process. Threads as `encode`
uses them: one per core, each with one thread of torch. Prints JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from ilk.core.allocator import keep_freed_memory
from ilk.core.cores import count_cores
from ilk.encoders import folding
from ilk.encoders.efficientnet_lite0 import PREPROCESS, EmbeddedCheckpoint

BATCHES = (2, 4, 8, 16, 32)
ROUNDS = 2
SMALL_SECONDS = 0.2  # below that, a trial: two batch sizes, one round


def make_variants() -> dict[str, tuple[torch.nn.Module, torch.memory_format]]:
    """Return the network as it is, with batch norm folded, and with channels last too."""
    build = EmbeddedCheckpoint().build_network
    probe = torch.from_numpy(PREPROCESS.normalize(folding.make_probe(PREPROCESS.size)))
    plan = folding.find_plan(build().requires_grad_(False), probe)
    folded = folding.Plan(plan.pairs)
    return {
        "plain": (build(), torch.contiguous_format),
        "folded": (folded.apply(build().requires_grad_(False)), torch.contiguous_format),
        "folded, channels last": (
            plan.apply(build().requires_grad_(False)),
            torch.channels_last if plan.channels_last else torch.contiguous_format,
        ),
    }


def measure(run: Callable[[], object], batch: int, seconds: float) -> tuple[float, float]:
    """Return images per second of all cores together, and page faults per image."""
    counts = [0] * count_cores()

    def work(thread: int, end: float) -> None:
        torch.set_num_threads(1)
        while time.perf_counter() < end or not counts[thread]:
            run()
            counts[thread] += batch

    faults, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
    threads = [threading.Thread(target=work, args=(i, start + seconds)) for i in range(len(counts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    return sum(counts) / (time.perf_counter() - start), faults / sum(counts)


def main(setting: str, seconds: float) -> list[dict[str, Any]]:
    """Measure every variant at every batch size, in turn."""
    if setting == "keep" and not keep_freed_memory():
        raise SystemExit("this machine's allocator is not glibc's")
    values: dict[tuple[str, int], list[tuple[float, float]]] = {}
    variants, is_trial = make_variants(), seconds < SMALL_SECONDS
    for i in range(1 if is_trial else ROUNDS + 1):
        for name, (network, layout) in variants.items():
            for batch in BATCHES[:2] if is_trial else BATCHES:
                x = torch.randn(batch, 3, *PREPROCESS.size).contiguous(memory_format=layout)

                def run(network: torch.nn.Module = network, x: torch.Tensor = x) -> None:
                    with torch.inference_mode():
                        network(x)

                value = measure(run, batch, seconds)
                if i or is_trial:  # the first round warms up
                    values.setdefault((name, batch), []).append(value)
    return [
        {
            "network": name,
            "batch": batch,
            "per_second": round(median(rate for rate, _ in rounds), 1),
            "page_faults_per_image": round(median(faults for _, faults in rounds)),
        }
        for (name, batch), rounds in values.items()
    ]


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], float(sys.argv[2]))))
