"""What does a fit cost if the features do not fit in memory, and what does it lose?

A million simulated rows of 768 features (float16) and 100 classes in a shard folder. One pass that
sums what GDA, ridge and naive Bayes need is compared with the bare products X'X and X'Y on the same
blocks; `ilk.fit` runs to the end; and with a hundred thousand rows the fits block by block are
compared with those in memory.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.out_of_core import one_pass, whole_fit
from benchmarks.out_of_core.agreement import METHODS, REGRESSION, compare
from benchmarks.out_of_core.simulated import ENCODER, Simulation, write_shards
from benchmarks.runner import summarize

FEW, MANY = 100_000, 1_000_000
SEEDS = (0, 1, 2)
LIMIT = {FEW: 0.5, MANY: 4.0}  # gigabytes, less than a fit in memory needs


def run(small: bool = False) -> dict[str, Any]:
    """Return costs at two sizes, their growth, and the agreement with fits in memory."""
    sizes = (600, 1200) if small else (FEW, MANY)
    d, k, rows, seeds = (48, 4, 600, SEEDS[:1]) if small else (768, 100, FEW, SEEDS)
    with tempfile.TemporaryDirectory() as home:
        costs = {n: _measure(Path(home) / f"shards-{n}", n, d, k) for n in sizes}
        pairs = [compare(Path(home) / f"agreement-{seed}", rows, d, k, seed) for seed in seeds]
    few, many = (costs[n] for n in sizes)
    return {
        "encoder": ENCODER,
        "costs": {str(n): cost for n, cost in costs.items()},
        "growth": {
            "rows": sizes[1] / sizes[0],
            "seconds_of_the_pass": many["one_pass"]["seconds"]["pass"]
            / few["one_pass"]["seconds"]["pass"],
            "seconds_of_the_fit": many["fit"]["seconds"] / few["fit"]["seconds"],
            "peak_memory_of_the_pass": many["memory"]["peak_gigabytes"]
            / few["memory"]["peak_gigabytes"],
            "peak_memory_of_the_fit": many["fit"]["peak_gigabytes"] / few["fit"]["peak_gigabytes"],
        },
        "agreement": {"rows": rows, "seeds": list(seeds), **_summarize(pairs)},
        "bars": {
            "speed_of_the_pass_to_bare_products": [
                many["one_pass"]["speed_of_the_pass_to_bare_products"],
                ">= 0.5",
            ],
            "peak_gigabytes_of_the_pass": [many["memory"]["peak_gigabytes"], "<= 1"],
            "peak_gigabytes_of_the_fit": [many["fit"]["peak_gigabytes"], "<= 25.8"],
        },
    }


def _measure(folder: Path, n: int, d: int, k: int) -> dict[str, Any]:
    """Write a shard folder, measure in processes of their own, and delete what is large."""
    write_shards(folder, n, Simulation(d, k))
    call = _call if n in LIMIT else _call_here
    cost = {
        "one_pass_from_parquet": call("one_pass", "parquet", str(folder)),
        "one_pass": call("one_pass", "mapped", str(folder)),
        "memory": call("one_pass", "memory", str(folder)),
        "fit": call("whole_fit", str(folder), str(LIMIT.get(n, 1e-5))),
    }
    shutil.rmtree(folder)
    return cost


def _call(module: str, *arguments: str) -> dict[str, Any]:
    code = (
        f"import json, sys; from benchmarks.out_of_core.{module} import main; "
        "print(json.dumps(main(*sys.argv[1:])))"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _call_here(module: str, *arguments: str) -> dict[str, Any]:
    """Measure in this process, whose peak memory is not that of the call."""
    main = {"one_pass": one_pass.main, "whole_fit": whole_fit.main}[module]
    return main(*arguments)


def _summarize(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return accuracies over seeds, their differences, and the gaps of the regression."""
    methods = (*METHODS, REGRESSION)
    return {
        "accuracy": {
            text: {
                **{
                    where: summarize([pair[where][text] for pair in pairs])
                    for where in ("in memory", "block by block")
                },
                "difference": summarize(
                    [pair["block by block"][text] - pair["in memory"][text] for pair in pairs]
                ),
            }
            for text in methods
        },
        "greatest_difference_of_probabilities": {
            text: max(pair["difference"][text] for pair in pairs) for text in METHODS
        },
        "regression_gap_in_nats": [pair["gap"] for pair in pairs],
        "seconds": [pair["seconds"] for pair in pairs],
    }
