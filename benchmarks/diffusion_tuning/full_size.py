"""The tuned networks of full size: Fashion-MNIST at 28 x 28 and CIFAR-10 at 32 x 32."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.diffusion_digits.run import flatten
from benchmarks.diffusion_setup import (
    WEIGHTS_DIR,
    ImageDataset,
    accuracy,
    make_fashion_config,
    scale_images,
    take_balanced,
)
from benchmarks.diffusion_tuning.measured_parts import MeasuredParts
from benchmarks.diffusion_tuning.official_test import OfficialTest, load_official_test
from benchmarks.diffusion_tuning.supervised import compare_updates, score
from benchmarks.diffusion_tuning.weights import TUNED, TunedWeights
from benchmarks.runner import HERE
from ilk.core.data import Data
from ilk.diffusion.checkpoint import checkpoint as saved
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.errors.class_errors import Measure, compute_class_errors, compute_scores
from ilk.diffusion.errors.levels import Levels
from ilk.diffusion.tuning.assessment import fit_scale, make_levels, measure_drawing
from ilk.methods.gda import GDA
from ilk.training.trainer import Batch

SEED = 10  # of the noise; the other benchmarks use 0, 1, 2
LEVEL_COUNTS, MANY_LEVELS = (1, 2, 4), 16
N_VALIDATION, N_GAUSSIAN, N_TIMED, N_DRAWN = 1_000, 20_000, 64, 500
MAX_PIXELS = 1_024  # of a covariance of pixels
MEASURE = Measure(batch_size=512, precision="bfloat16")
PUBLISHED = {  # of the other benchmarks, on their own test images
    "diffusion classifier": "untuned, 16 levels",
    "supervised baseline": "supervised network",
    "supervised baseline steps": "supervised network, updates",
}


def list_full_size() -> list[TunedWeights]:
    """Return the tuned weights that are there."""
    return [w for w in TUNED.values() if (WEIGHTS_DIR / w.name / saved.JSON).exists()]


def evaluate(weights: TunedWeights, parts: MeasuredParts, small: bool) -> dict[str, Any]:
    """Return the table of one data set, but for the supervised network."""
    dataset = weights.load_dataset()
    test = load_official_test(dataset.name, small)
    validation = take_balanced(dataset.validation, 60 if small else N_VALIDATION)
    tuned = saved.load(WEIGHTS_DIR / weights.name)
    levels = make_levels(tuned, weights.noise.mean, weights.noise.std)
    base = saved.load(WEIGHTS_DIR / weights.base) if weights.base else None
    name, drawn = weights.name, 20 if small else N_DRAWN
    return {
        "updates": [c.recipe.steps for c in weights.stages],
        "images": {
            "held out": len(validation),
            "official test": len(test.images),
            "usual test": len(test.usual),
        },
        **parts.compute(f"{name}-classified", lambda: classify(tuned, levels, validation, test)),
        "drawing": parts.compute(
            f"{name}-drawn", lambda: compare_drawing(base, tuned, dataset, drawn)
        ),
        "seconds per image and level": time_classification(tuned, test.usual),
        "seconds per image and level, untuned": base and time_classification(base, test.usual),
        "on the usual images": read_published(weights.published),
        **parts.compute(f"{name}-gaussians", lambda: fit_gaussians(dataset, test, small)),
    }


def compare_supervised(weights: TunedWeights, parts: MeasuredParts) -> dict[str, float]:
    """Return the processor time of the supervised network of another benchmark, and of tuning."""
    updates = read_published(weights.published)["supervised network, updates"]
    result: dict[str, float] = parts.compute(
        f"{weights.name}-updates", lambda: compare_updates(weights, weights.load_dataset(), updates)
    )
    return result


def read_published(name: str) -> dict[str, Any]:
    """Return what another benchmark measured on its test images."""
    result = json.loads((HERE / "results" / f"{name}.json").read_text("utf-8"))["result"]
    return {label: result[key] for key, label in PUBLISHED.items()}


def classify(
    network: Denoiser, levels: Levels, validation: Batch, test: OfficialTest
) -> dict[str, Any]:
    """Return accuracy and log loss by number of levels, chosen and weighted on `validation`.

    Few levels classify the official test part, all of them its usual images alone.
    """
    fit = measure(network, validation, levels)
    best = Levels.learn(fit, validation.y, levels, max_levels=max(LEVEL_COUNTS))
    best_fit, errors = fit[:, :, best.find_indices(levels)], measure(network, test.images, best)
    rows: list[dict[str, Any]] = []
    for m in LEVEL_COUNTS:
        logits = compute_logits(best.take(range(m)), best_fit[:, :, :m], validation, errors)
        usual = score("usual test", logits[test.is_usual], test.usual.y)
        rows.append({"levels": m, **score("official test", logits, test.images.y), **usual})
    every = Levels.learn(fit, validation.y, levels, max_levels=MANY_LEVELS)
    every_fit = fit[:, :, every.find_indices(levels)]
    logits = compute_logits(every, every_fit, validation, measure(network, test.usual, every))
    rows.append({"levels": len(every), **score("usual test", logits, test.usual.y)})
    return {"sigmas": list(best.sigmas), "rows": rows}


def compute_logits(levels: Levels, fit: Tensor, validation: Batch, errors: Tensor) -> Tensor:
    """Return logits `[n, k]` from errors `[n, k, levels or more]`, calibrated on `validation`."""
    weights = torch.tensor(levels.weights)
    scores = [compute_scores(e[:, :, : len(levels)], weights) for e in (fit, errors)]
    return fit_scale(scores[0], validation.y) * scores[1].double()


def measure(network: Denoiser, part: Batch, levels: Levels) -> Tensor:
    """Return the errors `[n, k, levels]` of images."""
    sigmas, noise = torch.tensor(levels.sigmas), levels.draw_noise(network, SEED)
    return compute_class_errors(network, scale_images(part), sigmas, noise, MEASURE)


def time_classification(network: Denoiser, test: Batch) -> float:
    """Return the processor seconds in which one level compares all classes of an image."""
    part, levels = Batch(test.x[:N_TIMED], test.y[:N_TIMED]), Levels((0.5,), (1.0,))
    start = time.process_time()
    measure(network, part, levels)
    return (time.process_time() - start) / len(part)


def compare_drawing(
    base: Denoiser | None, tuned: Denoiser, dataset: ImageDataset, count: int
) -> dict[str, Any]:
    """Return how close images drawn before and after tuning are to the usual test images."""
    noise = make_fashion_config(0).noise
    assert noise is not None, "stated there"
    table: dict[str, Any] = {"images drawn": count}
    for name, network in (("before", base), ("after", tuned)):
        drawing = network and measure_drawing(network, dataset.test, count, "cpu", noise.sigmas)
        table[name] = drawing and {
            "Fréchet distance": drawing.frechet_distance,
            "precision": drawing.precision,
            "recall": drawing.recall,
        }
    return table


def fit_gaussians(dataset: ImageDataset, test: OfficialTest, small: bool) -> dict[str, float]:
    """Return the accuracy of Gaussians per class, with one covariance and with own ones.

    Own covariances are of 60 principal components; one covariance is of the pixels, or of the same
    components for images of more than 1,024 values. Scored on the official test part.
    """
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

    train = take_balanced(dataset.train, 400 if small else N_GAUSSIAN)
    x, x_test, y = flatten(train), flatten(test.images), train.y.numpy()
    pca = PCA(30 if small else 60, svd_solver="randomized", random_state=0).fit(x)
    parts, parts_test = pca.transform(x), pca.transform(x_test)
    if x.shape[1] > MAX_PIXELS:
        x, x_test = parts, parts_test
    shared = GDA().fit(Data(x, y, dataset.classes)).logits(x_test)
    own = QuadraticDiscriminantAnalysis(reg_param=0.01).fit(parts, y)
    y_test = test.images.y.numpy()
    return {
        "Gaussians, one covariance": accuracy(shared, test.images.y),
        "Gaussians, own covariances": float(np.mean(own.predict(parts_test) == y_test)),
    }
