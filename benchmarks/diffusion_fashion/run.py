"""Fashion-MNIST: how does one diffusion model of 2.4 million weights compare with classifiers?

58,000 training images, 2,000 held out for every choice, 1,000 fixed test images (the first 100 of
each class by name). One network, pretrained once (12,000 steps of 128); three seeds of the noise
used for classification. Its diffusion classifier (16 levels, weights learned on 500 held-out
images) and logistic regression on its features are compared with a supervised network of the same
trunk, features of the same network with random weights, and logistic regression and 5 nearest
neighbours on pixels. The feature point is found by cross-validation on 2,000 training images. The
supervised baseline makes a tenth of the updates on the same images, because it learns faster;
`supervised baseline steps` is their number. Finished parts are cached, so the total time is that of
the last command.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.diffusion_digits.run import flatten, measure_generation, score_regression
from benchmarks.diffusion_setup import (
    ImageDataset,
    accuracy,
    load_fashion_images,
    load_or_compute,
    load_pretrained,
    make_fashion_config,
    make_untrained,
    scale_images,
    select_machine,
    take_balanced,
)
from benchmarks.runner import summarize
from ilk.core.cores import count_cores
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.errors.class_errors import Measure, compute_class_errors, compute_scores
from ilk.diffusion.errors.levels import Levels
from ilk.diffusion.features.extract import extract_features
from ilk.diffusion.features.feature_point import FeatureConfig, FeaturePoint
from ilk.diffusion.features.hooks import Hooks
from ilk.diffusion.features.search import SearchConfig, search
from ilk.diffusion.pretraining import supervised_baseline
from ilk.diffusion.pretraining.pretrain import PretrainConfig
from ilk.training.trainer import Batch

SEEDS = (0, 1, 2)
N_LEVELS, MAX_SIGMA, N_HELD_OUT = (
    16,
    5.0,
    500,
)  # number of noise levels, the highest, images for their weights
N_PROBE = 20_000  # training images of logistic regression
MEASURE = Measure(batch_size=512, precision="bfloat16")


def run(small: bool = False) -> dict[str, Any]:
    """Return the table; `small` trains for two steps and tests ten images."""
    if small:
        return make_table(
            load_fashion_images(), make_fashion_config(0, 2), "fashion-small", small=True
        )
    return make_table(load_fashion_images(), make_fashion_config(0), "fashion-0")


def make_table(
    dataset: ImageDataset, config: PretrainConfig, name: str, *, small: bool = False
) -> dict[str, Any]:
    """Evaluate every method on the same test images."""
    test = take_balanced(dataset.test, 10) if small else dataset.test
    train = take_balanced(dataset.train, 100 if small else N_PROBE)
    validation = take_balanced(dataset.validation, 20 if small else N_HELD_OUT)
    network = load_pretrained(dataset, config, name)
    seeds = [
        load_or_compute(
            f"{name}-classified-{s}",
            partial(_evaluate_classifier, network, validation, test, s, 2 if small else N_LEVELS),
        )
        for s in SEEDS
    ]
    return {
        "weights": sum(p.numel() for p in network.parameters()),
        "training": _describe_training(config, dataset),
        "diffusion classifier": summarize([row["learned"] for row in seeds]),
        "diffusion classifier, likelihood weights": summarize([row["likelihood"] for row in seeds]),
        "noise levels": N_LEVELS,
        "seconds per image": summarize([row["seconds"] for row in seeds]),
        **load_or_compute(
            f"{name}-probe", lambda: _evaluate_features("diffusion features", network, train, test)
        ),
        **_evaluate_baselines(dataset, config, name, train, test),
        **load_or_compute(
            f"{name}-drawn",
            lambda: measure_generation(
                network, ImageDataset(name, dataset.classes, train, train, dataset.test), test
            ),
        ),
        "images": {"test": len(test), "probe": len(train)},
    }


def _evaluate_baselines(
    dataset: ImageDataset, config: PretrainConfig, name: str, train: Batch, test: Batch
) -> dict[str, Any]:
    """Evaluate the methods that need no pretraining."""
    steps = max(2, config.recipe.steps // 10)
    short_config = replace(config, recipe=replace(config.recipe, steps=steps))

    def evaluate_supervised() -> dict[str, float]:
        torch.set_num_threads(count_cores())
        baseline = supervised_baseline.fit_baseline(
            dataset.train, dataset.classes, short_config, select_machine()
        )
        return {
            "supervised baseline": accuracy(baseline.logits(test.x), test.y),
            "supervised baseline steps": steps,
        }

    def probe_untrained() -> dict[str, Any]:
        network = make_untrained(dataset, config)
        return _evaluate_features("features of random weights", network, train, test)

    return {
        **load_or_compute(f"{name}-twin", evaluate_supervised),
        **load_or_compute(f"{name}-random", probe_untrained),
        **load_or_compute(f"{name}-pixels", lambda: _evaluate_pixels(train, test)),
    }


def _evaluate_classifier(
    network: Denoiser, validation: Batch, test: Batch, seed: int, count: int
) -> Any:
    """Return the accuracy with likelihood weights and with weights learned on held-out images."""
    levels = Levels.log_spaced(network, count, network.sigmas[0], MAX_SIGMA)
    sigmas, noise = torch.tensor(levels.sigmas), levels.draw_noise(network, seed)
    validation_errors = compute_class_errors(
        network, scale_images(validation), sigmas, noise, MEASURE
    )
    learned = Levels.learn(validation_errors, validation.y, levels)
    start = time.perf_counter()
    test_errors = compute_class_errors(network, scale_images(test), sigmas, noise, MEASURE)
    seconds = (time.perf_counter() - start) / len(test)
    learned_scores = compute_scores(
        test_errors[:, :, learned.find_indices(levels)], torch.tensor(learned.weights)
    )
    likelihood_scores = compute_scores(test_errors, torch.tensor(levels.weights))
    return {
        "learned": accuracy(learned_scores, test.y),
        "likelihood": accuracy(likelihood_scores, test.y),
        "seconds": seconds,
        "levels": learned.to_json(),
    }


def _evaluate_features(name: str, network: Denoiser, train: Batch, test: Batch) -> dict[str, Any]:
    point = _search_point(network, train)
    value = _probe_point(network, point, train, test)
    return {f"logistic regression on {name}": value, f"point of {name}": str(point)}


def _search_point(network: Denoiser, train: Batch) -> FeaturePoint:
    rows = take_balanced(train, 2_000)
    return search(network, rows.x, rows.y.numpy(), SearchConfig()).best_point


def _probe_point(network: Denoiser, point: FeaturePoint, train: Batch, test: Batch) -> float:
    hooks, feature_config = Hooks(network), FeatureConfig(0, 1, 256, "bfloat16")
    try:
        x, x_test = (
            extract_features(hooks, part.x, [point], feature_config).numpy()
            for part in (train, test)
        )
    finally:
        hooks.close()
    return score_regression(x, train.y.numpy(), x_test, test.y)


def _evaluate_pixels(train: Batch, test: Batch) -> dict[str, float]:
    from sklearn.neighbors import KNeighborsClassifier

    x, y = flatten(train), train.y.numpy()
    knn = KNeighborsClassifier(5).fit(x, y).score(flatten(test), test.y.numpy())
    return {
        "logistic regression on pixels": score_regression(x, y, flatten(test), test.y),
        "5 nearest neighbours on pixels": float(knn),
    }


def _describe_training(config: PretrainConfig, dataset: ImageDataset) -> dict[str, Any]:
    recipe = config.recipe
    return {
        "steps": recipe.steps,
        "batch": recipe.batch_size,
        "passes": float(np.round(recipe.steps * recipe.batch_size / len(dataset.train), 1)),
        "network": config.options,
    }
