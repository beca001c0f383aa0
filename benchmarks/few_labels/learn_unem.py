"""Learn the default weights of UNEM: `python -m benchmarks.few_labels.learn_unem`.

The tasks are of the kinds that a user may have: 5, 10 or 20 classes, 2, 4 or 8 labelled rows per
class, and queries of two classes, a quarter, half or all of them. They are drawn from data sets
whose licence allows it and which no test of the method uses: the first small set of Omniglot (MIT)
and notMNIST (MIT) as pixels and as histograms of gradients, and UCI pendigits (CC BY 4.0); with
noise as well, since classes overlap in the features of many encoders. The file holds 20 numbers and
how they came about, no data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from benchmarks import datasets
from benchmarks.few_labels import tasks as task_sources
from ilk.core.atomic_write import write_atomically
from ilk.core.data import Data
from ilk.methods.unem import DEFAULT_WEIGHTS_PATH, UNEM, fit_unem
from ilk.protocols import Step, episodes

SEED, N_TASKS, EPOCHS = 1000, 576, 30
CLASSES, SHOTS, QUERIES = (5, 10, 20), (2, 4, 8), 75
START = UNEM((1.0,) * 10, (1.0,) * 10, guard=False)  # maximum likelihood
SOURCES = (
    "Omniglot small set 1 (MIT), pixels",
    "Omniglot small set 1 (MIT), histograms of gradients",
    "notMNIST (MIT), pixels",
    "notMNIST (MIT), histograms of gradients",
    "UCI pendigits (CC BY 4.0)",
    "notMNIST (MIT), pixels with Gaussian noise of standard deviation 1",
    "UCI pendigits (CC BY 4.0) with Gaussian noise of standard deviation 0.4",
)


def main() -> None:
    """Learn the weights and write them into the package."""
    fitted = fit_unem(draw_mixed_tasks(load_sources(), N_TASKS), START, epochs=EPOCHS, seed=SEED)
    text = json.dumps(describe_weights(fitted), indent=1) + "\n"
    write_atomically(DEFAULT_WEIGHTS_PATH, text.encode())
    print(text)


def load_sources() -> list[Data]:
    """Return the data sets in the order of `SOURCES`."""
    omniglot, pendigits = datasets.read_omniglot(1), datasets.read_pendigits()[0]
    letters = task_sources.subsample(datasets.read_notmnist(), 200)
    pendigits = task_sources.subsample(pendigits, 200)
    return [
        omniglot,
        task_sources.compute_hog(omniglot),
        letters,
        task_sources.compute_hog(letters),
        pendigits,
        add_noise(letters, 1.0),
        add_noise(pendigits, 0.4),
    ]


def add_noise(data: Data, std: float) -> Data:
    """Return rows with Gaussian noise of standard deviation `std` in every feature."""
    noise = np.random.default_rng(SEED).normal(0.0, std, data.x.shape)
    return replace(data, x=(data.x + noise).astype(np.float32))


def draw_mixed_tasks(sources: Sequence[Data], count: int) -> list[Step]:
    """Draw about `count` tasks, equally many of each source, class count and balance of queries."""
    settings = [
        (data, k, share)
        for data, k, share in product(sources, CLASSES, (0.0, 0.25, 0.5, 1.0))
        if k <= data.k
    ]
    tasks: list[Step] = []
    for i in range(count):
        data, k, share = settings[i % len(settings)]
        shots = SHOTS[i // len(settings) % len(SHOTS)]
        tasks += draw_task(data, k, max(2, round(share * k)), (shots, SEED + i))
    return tasks


def draw_task(data: Data, k: int, ways: int, shots_and_seed: tuple[int, int]) -> Iterator[Step]:
    """Draw one task of `k` classes whose queries come from `ways` of them."""
    shots, seed = shots_and_seed
    available = ways * (int(np.median(data.count_labels())) - shots)
    yield from episodes(
        data,
        shots,
        min(QUERIES, available),
        ways=ways,
        n_classes=k,
        n_episodes=1,
        seed=seed,
    )


def describe_weights(fitted: UNEM) -> dict[str, Any]:
    """Return the contents of the file: the weights and their origin."""
    rounded = replace(
        fitted,
        balance=tuple(round(b, 4) for b in fitted.balance),
        inverse_temperature=tuple(round(s, 4) for s in fitted.inverse_temperature),
    )
    return {
        "balance": rounded.balance,
        "inverse_temperature": rounded.inverse_temperature,
        "learned_with": "python -m benchmarks.few_labels.learn_unem",
        "learned_on": list(SOURCES),
        "tasks": {
            "number": N_TASKS,
            "classes": list(CLASSES),
            "labelled rows per class": list(SHOTS),
            "queries": QUERIES,
            "fractions of classes among the queries": ["two classes", 0.25, 0.5, 1.0],
            "epochs": EPOCHS,
            "seed": SEED,
        },
    }


if __name__ == "__main__":
    main()
