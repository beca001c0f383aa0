"""Digits: does one diffusion model classify, embed and generate as well as specialised models?

scikit-learn's digits, 70/30, seeds 0 to 2. A U-Net of 0.41 million weights is pretrained for 300
steps of 128 images on the training part. Its diffusion classifier (32 levels, evenly spaced in ln
sigma, likelihood weights) and logistic regression on its features are compared with a supervised
network of the same trunk and budget, features of a network with random weights, and logistic
regression and 3 nearest neighbours on pixels. The feature point is found by cross-validation on the
training part. Fréchet distances are between 540 generated images and the test part, on pixels,
beside that between the training and test parts. The curve over labels gives every method the same
few labelled images; its features are of a network that was pretrained on all training images
without labels, at the default feature point. Finished parts are cached, so the total time is that
of the last command.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.diffusion_setup import (
    ImageDataset,
    accuracy,
    load_digit_images,
    load_or_compute,
    load_pretrained,
    make_digits_config,
    make_untrained,
    scale_images,
    select_machine,
    take_balanced,
)
from benchmarks.runner import summarize
from ilk.core.data import Data
from ilk.diffusion.classification.exhaustive import Exhaustive
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.errors.class_errors import Measure
from ilk.diffusion.errors.levels import Levels
from ilk.diffusion.features.extract import extract_features
from ilk.diffusion.features.feature_point import FeaturePoint
from ilk.diffusion.features.hooks import Hooks
from ilk.diffusion.features.search import SearchConfig, search
from ilk.diffusion.generation.sample import Sampler
from ilk.diffusion.pretraining.supervised_baseline import fit_baseline
from ilk.maths.frechet_distance import frechet_distance
from ilk.methods.logistic_regression import LogisticRegression
from ilk.training.trainer import Batch

SEEDS = (0, 1, 2)
SHOTS = (1, 2, 5, 10)
MEASURE = Measure(batch_size=512, precision="bfloat16")


def run(small: bool = False) -> dict[str, Any]:
    """Return the table over seeds, and the curve over labels."""
    torch.manual_seed(0)
    steps = 10 if small else 300
    seeds = SEEDS[: 1 if small else None]
    rows = [
        load_or_compute(f"digits-table-{s}-{steps}", partial(evaluate_seed, s, steps, small))
        for s in seeds
    ]
    for seed, row in zip(seeds, rows, strict=True):
        key = "logistic regression on features of random weights"
        row[key] = load_or_compute(
            f"digits-random-{seed}-{steps}", partial(_evaluate_untrained, seed, steps, small)
        )
    figures = [key for key, value in rows[0].items() if isinstance(value, float)]
    curve = [row.pop("curve") for row in rows]
    return {
        "accuracy on test, mean and 95 % interval over seeds": {
            key: summarize([row[key] for row in rows]) for key in figures
        },
        "seeds": rows,
        "labels": _average_curves(curve),
        "plots": [_make_plot(curve)],
    }


def evaluate_seed(seed: int, steps: int, small: bool) -> dict[str, Any]:
    """Evaluate every method on the test images of one split."""
    dataset, config = load_digit_images(seed), make_digits_config(seed, steps)
    test = take_balanced(dataset.test, 60) if small else dataset.test
    name = f"digits-{seed}-{steps}"
    network = load_pretrained(dataset, config, name)
    n_rows = 60 if small else 2_000
    start = time.perf_counter()
    result = Exhaustive().score_batch(
        network, scale_images(test), Levels.log_spaced(network, 32), MEASURE, seed
    )
    seconds = time.perf_counter() - start
    baseline = fit_baseline(dataset.train, dataset.classes, config, select_machine())
    figures = {
        "diffusion classifier": accuracy(result.scores, test.y),
        "supervised baseline": accuracy(baseline.logits(test.x), test.y),
        "logistic regression on diffusion features": probe_features(network, dataset, test, n_rows),
        **evaluate_pixels(dataset, test),
        **measure_generation(network, dataset, test),
    }
    weights = sum(p.numel() for p in network.parameters())
    curve = evaluate_few_labels(dataset, test, seed, steps)
    info = {"seed": seed, "weights": weights, "calls": int(result.n_calls[0])}
    return {**info, **figures, "seconds per image": seconds / len(test), "curve": curve}


def _evaluate_untrained(seed: int, steps: int, small: bool) -> float:
    dataset = load_digit_images(seed)
    test = take_balanced(dataset.test, 60) if small else dataset.test
    network = make_untrained(dataset, make_digits_config(seed, steps))
    return probe_features(network, dataset, test, 60 if small else 2_000)


def probe_features(
    network: Denoiser, dataset: ImageDataset, test: Batch, rows: int = 2_000
) -> float:
    """Return the accuracy of logistic regression at the point chosen on the training part."""
    point = search(
        network, dataset.train.x, dataset.train.y.numpy(), SearchConfig(max_images=rows)
    ).best_point
    hooks = Hooks(network)
    try:
        x, x_test = (
            extract_features(hooks, part.x, [point]).numpy() for part in (dataset.train, test)
        )
    finally:
        hooks.close()
    return score_regression(x, dataset.train.y.numpy(), x_test, test.y)


def score_regression(x: Any, y: Any, x_test: Any, y_test: torch.Tensor) -> float:
    """Return the test accuracy of ilk's logistic regression on standardised features."""
    mean, std = x.mean(0), x.std(0) + 1e-6
    data = Data((x - mean) / std, y, tuple(map(str, range(int(y.max()) + 1))))
    model = LogisticRegression().fit(data)
    return accuracy(model.logits((x_test - mean) / std), y_test)


def flatten(batch: Batch) -> Any:
    """Return pixels as rows in [0, 1]."""
    return batch.x.flatten(1).numpy().astype(np.float32) / 255


def evaluate_pixels(dataset: ImageDataset, test: Batch) -> dict[str, float]:
    """Evaluate the methods that need no network."""
    from sklearn.neighbors import KNeighborsClassifier

    x, y = flatten(dataset.train), dataset.train.y.numpy()
    knn = KNeighborsClassifier(3).fit(x, y).score(flatten(test), test.y.numpy())
    return {
        "logistic regression on pixels": score_regression(x, y, flatten(test), test.y),
        "3 nearest neighbours on pixels": float(knn),
    }


def measure_generation(network: Denoiser, dataset: ImageDataset, test: Batch) -> dict[str, float]:
    """Return Fréchet distances of generated from real images, and of real from real ones."""
    labels = torch.arange(len(test)) % len(dataset.classes)
    samples = Sampler(steps=18).draw(network, labels, "cpu")
    real = flatten(test).astype(np.float64)
    fake = ((samples.clamp(-1, 1) + 1) / 2).flatten(1).double().numpy()
    return {
        "Fréchet distance of generated images": frechet_distance(fake, real),
        "Fréchet distance of training images": frechet_distance(flatten(dataset.train), real),
    }


def evaluate_few_labels(
    dataset: ImageDataset, test: Batch, seed: int, steps: int
) -> dict[str, dict[str, float]]:
    """Return accuracy by labelled images per class: pretrained features, pixels, supervised."""
    unlabelled_batch = Batch(dataset.train.x, torch.full_like(dataset.train.y, -1))
    config = make_digits_config(seed, steps)
    unlabelled_set = ImageDataset("digits", (), unlabelled_batch, unlabelled_batch, dataset.test)
    network = load_pretrained(unlabelled_set, config, f"digits-unlabelled-{seed}-{steps}")
    curve: dict[str, dict[str, float]] = {}
    for shots in (*SHOTS, 0) if steps > 10 else (2, 0):
        labelled = sample_shots(dataset.train, shots, seed)
        baseline = fit_baseline(labelled, dataset.classes, config, select_machine())
        curve[str(shots or "all")] = {
            "diffusion features": score_default_point(network, labelled, test),
            "pixels": score_regression(
                flatten(labelled), labelled.y.numpy(), flatten(test), test.y
            ),
            "supervised baseline": accuracy(baseline.logits(test.x), test.y),
        }
    return curve


def score_default_point(network: Denoiser, train: Batch, test: Batch) -> float:
    """Return the accuracy at the default feature point of the encoder."""
    hooks = Hooks(network)
    try:
        points = [FeaturePoint(hooks.middle + 1, 0.5 * network.sigma_data, 2)]
        x, x_test = (extract_features(hooks, part.x, points).numpy() for part in (train, test))
    finally:
        hooks.close()
    return score_regression(x, train.y.numpy(), x_test, test.y)


def sample_shots(batch: Batch, shots: int, seed: int) -> Batch:
    """Draw `shots` images of each class at random; 0 takes all."""
    if not shots:
        return batch
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(seed))
    rows = [order[batch.y[order] == c][:shots] for c in range(int(batch.y.max()) + 1)]
    selected = torch.cat(rows)
    return Batch(batch.x[selected], batch.y[selected])


def _average_curves(curves: list[dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """Return one record per number of labels."""
    return [
        {"labels per class": shots, **{k: summarize([c[shots][k] for c in curves]) for k in first}}
        for shots, first in curves[0].items()
    ]


def _make_plot(curves: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    full = 126  # images per class of the training part, on average
    series: dict[str, list[list[float]]] = {}
    for row in _average_curves(curves):
        shots = row.pop("labels per class")
        for name, value in row.items():
            mean, half = value["mean"], value["half_width"] or 0.0
            at = full if shots == "all" else float(shots)
            series.setdefault(name, []).append([at, mean, mean - half, min(1.0, mean + half)])
    return {
        "file": "diffusion_digits-labels.svg",
        "kind": "lines",
        "title": "Digits: accuracy by labelled images per class",
        "x": "labelled images per class (the last: all)",
        "y": "test accuracy, mean and 95 % interval",
        "series": series,
        "log_x": True,
    }
