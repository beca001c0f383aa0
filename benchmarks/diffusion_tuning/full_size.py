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
    TEST_PER_CLASS,
    WEIGHTS_DIR,
    ImageDataset,
    accuracy,
    load_or_compute,
    scale_images,
    take_balanced,
)
from benchmarks.diffusion_tuning.fresh_test import load_fresh_test
from benchmarks.diffusion_tuning.weights import TUNED, TunedWeights
from benchmarks.runner import HERE
from ilk.core.data import Data
from ilk.diffusion.checkpoint import checkpoint as saved
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.errors.class_errors import Measure, compute_class_errors, compute_scores
from ilk.diffusion.errors.levels import Levels
from ilk.diffusion.tuning.assessment import fit_scale, make_levels
from ilk.methods.gda import GDA
from ilk.training.trainer import Batch

SEED = 10  # of the noise; the other benchmarks use 0, 1, 2
LEVEL_COUNTS = (1, 2, 4)
N_VALIDATION, N_GAUSSIAN, N_TIMED = 300, 20_000, 64
MAX_PIXELS = 1_024  # of a covariance of pixels
MEASURE = Measure(batch_size=512, precision="bfloat16")
PUBLISHED = {  # of the other benchmarks, on their own test images
    "diffusion classifier": "untuned, 16 levels",
    "supervised baseline": "supervised network",
    "supervised baseline steps": "supervised network, updates",
}


def evaluate_all(small: bool) -> dict[str, Any]:
    """Return a table for each data set whose tuned weights are there."""
    return {
        key: evaluate(weights, small)
        for key, weights in TUNED.items()
        if (WEIGHTS_DIR / weights.name / saved.JSON).exists()
    }


def evaluate(weights: TunedWeights, small: bool) -> dict[str, Any]:
    """Return the table of one data set; every part is cached."""
    dataset = weights.load_dataset()
    fresh = load_fresh_test(dataset.name, 2 if small else TEST_PER_CLASS)
    usual = take_balanced(dataset.test, 20) if small else dataset.test
    validation = take_balanced(dataset.validation, 60 if small else N_VALIDATION)
    tuned = saved.load(WEIGHTS_DIR / weights.name)
    tag = f"{weights.name}{'-small' if small else ''}"
    levels = make_levels(tuned, weights.noise.mean, weights.noise.std)
    table: dict[str, Any] = {
        "updates": [c.recipe.steps for c in weights.stages],
        "images": {"fresh test": len(fresh), "usual test": len(usual)},
        **load_or_compute(
            f"{tag}-classified",
            lambda: classify(tuned, levels, validation, {"fresh": fresh, "usual": usual}),
        ),
        "seconds per image and level": time_classification(tuned, fresh),
        "on the usual images": read_published(weights.published),
    }
    if weights.base:
        base = saved.load(WEIGHTS_DIR / weights.base)
        table["seconds per image and level, untuned"] = time_classification(base, fresh)
    table |= load_or_compute(f"{tag}-gaussians", lambda: fit_gaussians(dataset, fresh, small))
    return table


def read_published(name: str) -> dict[str, Any]:
    """Return what another benchmark measured on its test images."""
    result = json.loads((HERE / "results" / f"{name}.json").read_text("utf-8"))["result"]
    return {label: result[key] for key, label in PUBLISHED.items()}


def classify(
    network: Denoiser, levels: Levels, validation: Batch, tests: dict[str, Batch]
) -> dict[str, Any]:
    """Return accuracy and log loss by number of levels, chosen and weighted on `validation`."""
    fit = measure(network, validation, levels)
    best = Levels.learn(fit, validation.y, levels, max_levels=max(LEVEL_COUNTS))
    fit = fit[:, :, best.find_indices(levels)]
    table: dict[str, Any] = {"sigmas": list(best.sigmas)}
    for name, test in tests.items():
        errors, rows = measure(network, test, best), []
        for m in LEVEL_COUNTS:
            some = best.take(range(m))
            scores = [
                compute_scores(e[:, :, :m], torch.tensor(some.weights)) for e in (fit, errors)
            ]
            log_p = (fit_scale(scores[0], validation.y) * scores[1].double()).log_softmax(1)
            loss = -float(log_p.gather(1, test.y[:, None]).mean())
            rows.append({"levels": m, "accuracy": accuracy(scores[1], test.y), "log loss": loss})
        table[f"{name} test images"] = rows
    return table


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


def fit_gaussians(dataset: ImageDataset, test: Batch, small: bool) -> dict[str, float]:
    """Return the accuracy of Gaussians per class, with one covariance and with own ones.

    Own covariances are of 60 principal components; one covariance is of the pixels, or of the same
    components for images of more than 1,024 values.
    """
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

    train = take_balanced(dataset.train, 400 if small else N_GAUSSIAN)
    x, x_test, y = flatten(train), flatten(test), train.y.numpy()
    pca = PCA(30 if small else 60, svd_solver="randomized", random_state=0).fit(x)
    parts, parts_test = pca.transform(x), pca.transform(x_test)
    if x.shape[1] > MAX_PIXELS:
        x, x_test = parts, parts_test
    shared = GDA().fit(Data(x, y, dataset.classes)).logits(x_test)
    own = QuadraticDiscriminantAnalysis(reg_param=0.01).fit(parts, y)
    return {
        "Gaussians, one covariance": float((shared.argmax(1) == test.y.numpy()).mean()),
        "Gaussians, own covariances": float(np.mean(own.predict(parts_test) == test.y.numpy())),
    }
