"""Can a network be pretrained on the source classes that a target uses, with nothing lost?

A small network is pretrained on all classes of a source and tuned to a few labelled images of a
target, or pretrained on a part of the classes: those that images of the target map to (by the
labels of a surrogate that was trained for one epoch, or by clusters of its features), random ones
(several times), those whose names are nearest, or as many random or moderate images of all classes.
It is first checked that pretraining helps at all, against a network without it that is trained by
the recipe that suits it better (100 updates at a rate of 0.004 in place of 60 at 0.001). The time
that pretraining on less saves is measured in the same run, the surrogate included.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.claims import Claim, make_table
from benchmarks.runner import summarize
from benchmarks.small_networks import (
    SmallNetwork,
    extract_features,
    predict_proba,
    train_network,
)
from benchmarks.source_pruning.sources import Task, read_task
from benchmarks.source_pruning.tuning import tune, tune_from_scratch
from ilk.core.data import Data
from ilk.subset_selection.selectors.moderate import Moderate
from ilk.subset_selection.selectors.source_pruning import count_label_hits, map_features

SEEDS = 5
KEEP = (0.2, 0.4, 0.8)
EPOCHS = 5
RANDOM_DRAWS = 3
WIDTH, CHANNELS, BATCH_SIZE = 64, 8, 128
SCRATCH, ALL = "no pretraining", "all classes"
LABELS, FEATURES = "label mapping", "feature mapping"
RANDOM, NAMES = "random classes", "nearest class names"
IMAGES, MODERATE = "random images", "moderate images"
FILE = "subset_selection/selectors/source_pruning.py"
SETTINGS = ("digits, letters and clothes to USPS digits", "letters and clothes to MNIST digits")


def run(small: bool = False) -> dict[str, Any]:
    """Run the benchmark; `small` takes seconds."""
    tables: list[dict[str, Any]] = []
    seconds: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    for setting in SETTINGS[: 1 if small else None]:
        runs = [_run_seed(setting, seed, small) for seed in range(2 if small else SEEDS)]
        shared = {name: [r["accuracy"][name] for r in runs] for name in (SCRATCH, ALL)}
        tables.append(
            make_table(
                f"{setting}, all classes",
                "accuracy after tuning",
                shared,
                [Claim("dp4tl-source-pruning", FILE, ALL, SCRATCH)],
            )
        )
        for fraction in KEEP[:: 2 if small else 1]:
            arms = {
                name: [r["accuracy"][f"{name} {fraction}"] for r in runs]
                for name in (LABELS, FEATURES, RANDOM, NAMES, IMAGES, MODERATE)
            }
            claims = [
                Claim("dp4tl-source-pruning", FILE, method, baseline)
                for method in (LABELS, FEATURES)
                for baseline in (ALL, RANDOM, NAMES, IMAGES)
            ]
            tables.append(
                make_table(
                    f"{setting}, {fraction:.0%} of the classes".replace("%", " %"),
                    "accuracy after tuning",
                    {**shared, **arms},
                    claims,
                )
            )
        seconds[setting] = {
            name: summarize([r["seconds"][name] for r in runs]) for name in runs[0]["seconds"]
        }
        kept[setting] = [r["kept"] for r in runs]
    return {"tables": tables, "pretraining_seconds": seconds, "classes_kept": kept}


def _run_seed(setting: str, seed: int, small: bool) -> dict[str, Any]:
    """Return accuracies, seconds of pretraining, and the classes that were kept."""
    task = read_task(setting, seed, small)
    rng = np.random.default_rng([seed, 1])
    epochs = 1 if small else EPOCHS
    accuracy: dict[str, float] = {}
    seconds: dict[str, float] = {}
    untrained = SmallNetwork(task.source.k, WIDTH, CHANNELS, seed)
    accuracy[SCRATCH] = tune_from_scratch(untrained, task.train, task.test, seed)
    accuracy[ALL], seconds[ALL] = _pretrain_and_tune(task, task.source, epochs, seed)
    start = time.perf_counter()
    surrogate = _pretrain(task.source, 1, seed)
    seconds["surrogate"] = time.perf_counter() - start
    use = count_label_hits(predict_proba(surrogate, task.train.x))
    by_labels = np.argsort(-use, kind="stable")
    cluster, cluster_use = _map_features(surrogate, task, seed)
    kept = {}
    for fraction in KEEP[:: 2 if small else 1]:
        n_kept = max(2, round(fraction * task.source.k))
        count = round(fraction * len(task.source))
        kept[str(fraction)] = [task.source.classes[c] for c in by_labels[:n_kept]]
        parts = {
            LABELS: _take_classes(task.source, by_labels[:n_kept]),
            FEATURES: task.source.take(_take_clusters(cluster, cluster_use, count)),
            NAMES: _take_classes(task.source, task.by_name[:n_kept]),
            IMAGES: task.source.take(np.sort(rng.permutation(len(task.source))[:count])),
            MODERATE: task.source.take(_take_moderate(surrogate, task.source, count, seed)),
        }
        for name, data in parts.items():
            key = f"{name} {fraction}"
            accuracy[key], seconds[key] = _pretrain_and_tune(task, data, epochs, seed)
        draws = [
            _pretrain_and_tune(
                task,
                _take_classes(task.source, rng.permutation(task.source.k)[:n_kept]),
                epochs,
                seed,
            )[0]
            for _ in range(RANDOM_DRAWS)
        ]
        accuracy[f"{RANDOM} {fraction}"] = float(np.mean(draws))
    return {"accuracy": accuracy, "seconds": seconds, "kept": kept}


def _pretrain(data: Data, epochs: int, seed: int) -> SmallNetwork:
    steps = max(2, epochs * len(data) // BATCH_SIZE)
    return train_network(data, steps, WIDTH, CHANNELS, seed)


def _pretrain_and_tune(task: Task, data: Data, epochs: int, seed: int) -> tuple[float, float]:
    """Return the test accuracy after tuning to the target, and the seconds of pretraining."""
    start = time.perf_counter()
    network = _pretrain(data, epochs, seed)
    seconds = time.perf_counter() - start
    return tune(network, task.train, task.test, seed), seconds


def _map_features(
    surrogate: SmallNetwork, task: Task, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return clusters of the source and their use, by the features of the surrogate."""
    x, t = (extract_features(surrogate, data.x) for data in (task.source, task.train))
    centre = x.mean(0)
    return map_features(x - centre, t - centre, task.source.k, seed)


def _take_classes(source: Data, class_ids: Sequence[int] | NDArray[Any]) -> Data:
    return source.take(np.isin(source.y, class_ids))


def _take_clusters(
    cluster: NDArray[np.int64], use: NDArray[np.float64], count: int
) -> NDArray[np.int64]:
    """Return the rows of the clusters with most hits, `[count]`; of the last one, the first."""
    order = np.argsort(-use, kind="stable")
    place = np.argsort(order)[cluster]
    return np.sort(np.argsort(place, kind="stable")[:count])


def _take_moderate(
    surrogate: SmallNetwork, source: Data, count: int, seed: int
) -> NDArray[np.int64]:
    features = Data(extract_features(surrogate, source.x), source.y, source.classes)
    return np.sort(np.argsort(-Moderate().score(features, None, seed), kind="stable")[:count])
