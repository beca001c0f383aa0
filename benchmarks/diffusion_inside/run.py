"""Inside a diffusion model: which noise levels matter, does shared noise help, which block to read?

Digits (70/30, seeds 3 to 5). Accuracy of the diffusion classifier on test images by number of
levels, with noise shared by all classes and with separate noise per class; accuracy of single
levels; a map of blocks by noise levels from cross-validation on the training part (the better of
the poolings), which reaches down to nearly clean images; and heads at the point chosen by that map,
by pooling, all with the same recipe.

Fashion-MNIST (1,000 test images that no earlier run used; left out if its files are not available).
A network of 0.8 million weights is trained without labels. Its features at the place chosen by
cross-validation are compared by one ridge probe with those of random weights, of an autoencoder
with the same width and patches and a quarter of the updates, and with principal components of the
pixels, on 1,000 labelled images, for three draws of labelled and test images. SatDiFuser's fusions
of two blocks and three noise levels are compared with the single best place, each place through the
same bottleneck. Nothing is chosen on test images. Finished parts are cached, so the total time is
that of the last command.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.diffusion_inside.features import evaluate_features
from benchmarks.diffusion_inside.heads import evaluate_heads
from benchmarks.diffusion_setup import (
    ImageDataset,
    accuracy,
    load_digit_images,
    load_fashion_images,
    load_or_compute,
    load_pretrained,
    make_digits_config,
    make_unlabelled_config,
    scale_images,
    take_balanced,
)
from benchmarks.runner import summarize
from ilk.core.errors import Unavailable
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.errors.class_errors import Measure, compute_class_errors, compute_scores
from ilk.diffusion.errors.levels import Levels
from ilk.diffusion.features.extract import estimate_noise_variance
from ilk.diffusion.features.hooks import Hooks
from ilk.diffusion.features.search import SearchConfig, search
from ilk.diffusion.pretraining.pretrain import PretrainConfig
from ilk.training.trainer import Batch, Recipe

SEEDS = (3, 4, 5)
LEVEL_COUNTS = (1, 2, 4, 8, 16)
FEATURE_SIZES, FEATURE_STEPS = (400, 1_000, 500), 100  # images; updates of the fusions
MEASURE = Measure(batch_size=512, precision="bfloat16")


@dataclass(frozen=True)
class Budget:
    """Size of the benchmark.

    Attributes:
        n_test: Test images that are classified; 0 for all.
        steps: Updates of a head.
        n_levels: Noise levels that are evaluated one by one.
        n_rows: Training images of the map of blocks.
        n_train: Training images of the heads; 0 for all.
    """

    n_test: int = 0
    steps: int = 200
    n_levels: int = 12
    n_rows: int = 600
    n_train: int = 0


def run(small: bool = False) -> dict[str, Any]:
    """Return both data sets; Fashion-MNIST is left out if its files are missing."""
    torch.set_num_threads(1)
    if small:
        budget = Budget(10, 3, 3, 60, 60)
        return _summarize_seeds(
            "digits",
            [
                _load_or_evaluate(
                    load_digit_images(0), make_digits_config(0, 10), "digits-0-10", 0, budget
                )
            ],
        )
    results = _summarize_seeds(
        "digits",
        [
            _load_or_evaluate(
                load_digit_images(s), make_digits_config(s), f"digits-{s}-300", s, Budget(200)
            )
            for s in SEEDS
        ],
    )
    try:
        dataset = load_fashion_images(100)
    except Unavailable:
        return results
    features = evaluate_features(
        dataset,
        make_unlabelled_config(),
        "fashion-unlabelled-0",
        SEEDS,
        FEATURE_SIZES,
        FEATURE_STEPS,
    )
    plot = _plot_map("fashion", **features.pop("map"))
    return {**results, "fashion": features, "plots": [*results["plots"], plot]}


def _load_or_evaluate(
    dataset: ImageDataset, config: PretrainConfig, name: str, seed: int, budget: Budget
) -> Any:
    return load_or_compute(
        f"inside-{name}-{seed}", lambda: _evaluate_network(dataset, config, name, seed, budget)
    )


def _evaluate_network(
    dataset: ImageDataset, config: PretrainConfig, name: str, seed: int, budget: Budget
) -> dict[str, Any]:
    network = load_pretrained(dataset, config, name)
    test = take_balanced(dataset.test, budget.n_test) if budget.n_test else dataset.test
    train = take_balanced(dataset.train, budget.n_train) if budget.n_train else dataset.train
    search_result = search(
        network, train.x, train.y.numpy(), SearchConfig(max_images=min(budget.n_rows, len(train)))
    )
    blocks, sigmas, accuracy_map = search_result.compute_accuracy_grid()
    hooks = Hooks(network)
    try:
        noise_fraction = estimate_noise_variance(
            hooks, train.x[:200], [search_result.best_point], draws=4
        )
        heads = evaluate_heads(
            hooks,
            search_result.select_best(2),
            train,
            test,
            Recipe(budget.steps, 128, 2e-3, seed=seed),
        )
    finally:
        hooks.close()
    return {
        "shared": _score_noise_sharing(network, test, seed, 1),
        "own": _score_noise_sharing(network, test, seed, len(network.classes)),
        "levels": _score_single_levels(network, test, seed, budget.n_levels),
        "blocks": blocks,
        "sigmas": sigmas,
        "heat": accuracy_map,
        "best": str(search_result.best_point),
        "noise fraction of the features": noise_fraction,
        "heads": heads,
    }


def _score_noise_sharing(network: Denoiser, test: Batch, seed: int, classes: int) -> list[float]:
    """Return accuracy by number of levels, with shared noise and with separate noise per class."""
    levels = Levels.log_spaced(network, max(LEVEL_COUNTS))
    generator = torch.Generator().manual_seed(seed)
    shape = (len(test), classes, len(levels), *network.shape)
    noise = torch.randn(shape, generator=generator)
    noise = noise.expand(len(test), len(network.classes), *shape[2:])
    level_errors = compute_class_errors(
        network, scale_images(test), torch.tensor(levels.sigmas), noise, MEASURE
    )
    weights = torch.tensor(levels.weights)
    return [
        accuracy(compute_scores(level_errors[:, :, :n], weights[:n]), test.y) for n in LEVEL_COUNTS
    ]


def _score_single_levels(
    network: Denoiser, test: Batch, seed: int, count: int
) -> list[list[float]]:
    """Return pairs of sigma and accuracy of single levels, mean over 2 noises."""
    levels = Levels.log_spaced(network, count, 0.05, 20.0).sort_by_sigma()
    sigmas = torch.tensor(levels.sigmas)
    accuracies = []
    for draw in range(2):
        noise = levels.draw_noise(network, 10 * seed + draw)
        level_errors = compute_class_errors(network, scale_images(test), sigmas, noise, MEASURE)
        accuracies.append((level_errors.argmin(1) == test.y[:, None]).double().mean(0))
    return [
        [float(s), float(a)] for s, a in zip(sigmas, torch.stack(accuracies).mean(0), strict=True)
    ]


def _summarize_seeds(name: str, seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return means over seeds, and the plots."""
    heads = [
        {
            "head": row["head"],
            "pool": row["pool"],
            "accuracy": summarize([seed["heads"][i]["accuracy"] for seed in seeds]),
        }
        for i, row in enumerate(seeds[0]["heads"])
    ]
    noise = [
        {
            "levels": count,
            "shared noise": summarize([s["shared"][i] for s in seeds]),
            "separate noise per class": summarize([s["own"][i] for s in seeds]),
        }
        for i, count in enumerate(LEVEL_COUNTS)
    ]
    levels = np.mean([seed["levels"] for seed in seeds], axis=0).tolist()
    accuracy_map = np.mean([seed["heat"] for seed in seeds], axis=0)
    block, level = np.unravel_index(np.nanargmax(accuracy_map), accuracy_map.shape)
    summary = {
        "noise": noise,
        "levels": [{"sigma": s, "accuracy": a} for s, a in levels],
        "heads": heads,
        "best point of the mean map": {
            "block": seeds[0]["blocks"][block],
            "of blocks": len(seeds[0]["blocks"]),
            "sigma": seeds[0]["sigmas"][level],
            "of sigmas": seeds[0]["sigmas"],
            "accuracy": float(accuracy_map[block, level]),
        },
        "points": [seed["best"] for seed in seeds],
        "noise fraction of the features": summarize(
            [seed["noise fraction of the features"] for seed in seeds]
        ),
    }
    return {name: summary, "plots": _make_plots(name, seeds, noise, levels, accuracy_map)}


def _make_plots(
    name: str,
    seeds: list[dict[str, Any]],
    noise: list[dict[str, Any]],
    levels: list[list[float]],
    accuracy_map: Any,
) -> list[dict[str, Any]]:
    shared: dict[str, list[list[float]]] = {}
    for row in noise:
        for key in ("shared noise", "separate noise per class"):
            mean, half = row[key]["mean"], row[key]["half_width"] or 0.0
            shared.setdefault(key, []).append([row["levels"], mean, mean - half, mean + half])
    return [
        {
            "file": f"diffusion_inside-{name}-noise.svg",
            "kind": "lines",
            "title": f"{name}: shared noise or separate noise per class",
            "x": "noise levels",
            "y": "test accuracy, mean and 95 % interval",
            "series": shared,
            "log_x": True,
        },
        {
            "file": f"diffusion_inside-{name}-levels.svg",
            "kind": "lines",
            "title": f"{name}: single noise levels",
            "x": "sigma",
            "y": "test accuracy",
            "series": {"single level": levels},
            "log_x": True,
        },
        _plot_map(name, seeds[0]["blocks"], seeds[0]["sigmas"], accuracy_map),
    ]


def _plot_map(name: str, blocks: list[int], sigmas: list[float], heat: Any) -> dict[str, Any]:
    matrix = [[None if v is None or np.isnan(v) else float(v) for v in line] for line in heat]
    return {
        "file": f"diffusion_inside-{name}-blocks.svg",
        "kind": "heat",
        "title": f"{name}: most informative features",
        "x": "sigma",
        "y": "block",
        "matrix": matrix,
        "rows": [str(b) for b in blocks],
        "columns": [f"{s:g}" for s in sigmas],
        "label": "cross-validated accuracy",
        "best": "high",
    }
