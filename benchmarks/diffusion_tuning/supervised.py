"""Processor time of tuning and of the supervised network, and scores of both."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path

from torch import Tensor
from torch.nn import functional

from benchmarks.diffusion_setup import (
    ImageDataset,
    accuracy,
    get_cache_dir,
    make_fashion_config,
    select_machine,
)
from benchmarks.diffusion_tuning.update_clock import time_updates
from benchmarks.diffusion_tuning.weights import TunedWeights, get_start
from ilk.core.progress import Progress
from ilk.diffusion.pretraining import supervised_baseline
from ilk.diffusion.tuning.tune import tune
from ilk.training.trainer import Batch


def compare_updates(weights: TunedWeights, dataset: ImageDataset, updates: int) -> dict[str, float]:
    """Return the processor seconds of an update of tuning and of the supervised network.

    They are timed one after the other, so that the load of the machine when the weights were tuned
    does not matter.

    Args:
        weights: The tuned weights.
        dataset: Their images.
        updates: Updates of the supervised network that another benchmark scored.
    """
    stage, train = weights.stages[0], Batch(dataset.train.x[:2_000], dataset.train.y[:2_000])
    config = replace(
        make_fashion_config(0), random_flip=stage.random_flip, max_shift=stage.max_shift
    )

    def fit(steps: int, progress: Progress) -> object:
        full = replace(config, recipe=replace(config.recipe, steps=steps))
        return supervised_baseline.fit_baseline(
            train, dataset.classes, full, select_machine(), progress
        )

    tuning, supervised = time_tuning(weights, dataset, train), time_updates(fit).seconds
    seconds = tuning * sum(c.recipe.steps for c in weights.stages)
    return {
        "seconds of an update of tuning": tuning,
        "seconds of an update of the supervised network": supervised,
        "supervised network, share of the time of tuning": updates * supervised / seconds,
    }


def time_tuning(weights: TunedWeights, dataset: ImageDataset, train: Batch) -> float:
    """Return the processor seconds of one update of the first stage of tuning."""
    stage, start = weights.stages[0], get_start(weights, dataset)
    with tempfile.TemporaryDirectory(dir=get_cache_dir()) as folder:

        def run(steps: int, progress: Progress) -> None:
            config = replace(stage, recipe=replace(stage.recipe, steps=steps))
            machine = select_machine()
            tune(start, train, dataset.classes, config, Path(folder) / "probe", machine, progress)

        return time_updates(run).seconds


def score(name: str, logits: Tensor, y: Tensor) -> dict[str, float]:
    """Return accuracy with its standard error, and log loss in nats, of logits `[n, k]`."""
    p = accuracy(logits, y)
    return {
        f"accuracy, {name}": p,
        f"standard error, {name}": math.sqrt(p * (1 - p) / len(y)),
        f"log loss, {name}": float(functional.cross_entropy(logits.double(), y)),
    }
