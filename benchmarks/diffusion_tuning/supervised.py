"""The supervised network of full size, with half of the processor time that tuning has."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional

from benchmarks.diffusion_setup import (
    ImageDataset,
    accuracy,
    get_cache_dir,
    make_fashion_config,
    select_machine,
)
from benchmarks.diffusion_tuning.official_test import OfficialTest
from benchmarks.diffusion_tuning.update_clock import time_updates
from benchmarks.diffusion_tuning.weights import TunedWeights, get_start
from ilk.core.progress import Progress, terminal_progress
from ilk.diffusion.pretraining import supervised_baseline
from ilk.diffusion.tuning.tune import tune
from ilk.training.trainer import Batch

SHARE = 0.5  # of the processor time of tuning, so that the benchmark stays short


def fit_supervised(
    weights: TunedWeights, dataset: ImageDataset, test: OfficialTest, small: bool
) -> dict[str, Any]:
    """Return accuracy and log loss after the updates that cost `SHARE` of the time of tuning.

    Updates of both are timed here, one after the other, so that the load of the machine when the
    weights were tuned does not matter. Images are flipped and shifted as in tuning.
    """
    stage = weights.stages[0]
    config = replace(
        make_fashion_config(0), random_flip=stage.random_flip, max_shift=stage.max_shift
    )
    train = Batch(dataset.train.x[:300], dataset.train.y[:300]) if small else dataset.train

    def fit(steps: int, progress: Progress) -> supervised_baseline.SupervisedBaseline:
        recipe = replace(config.recipe, steps=steps)
        return supervised_baseline.fit_baseline(
            train,
            dataset.classes,
            replace(config, recipe=recipe),
            select_machine(),
            progress,
        )

    tuning, supervised = time_tuning(weights, dataset, train), time_updates(fit)
    seconds = SHARE * tuning * sum(c.recipe.steps for c in weights.stages)
    updates = 2 if small else round(seconds / supervised.seconds)
    network = fit(updates, terminal_progress(interval=60))
    logits = network.logits(test.images.x)
    return {
        "updates": updates,
        "processor seconds of one update": supervised.seconds,
        "processor seconds of one update of tuning": tuning,
        "processor seconds": updates * supervised.seconds,
        **score("official test", logits, test.images.y),
        "accuracy, usual test": accuracy(logits[test.is_usual], test.usual.y),
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
