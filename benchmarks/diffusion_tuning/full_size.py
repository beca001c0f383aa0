"""The tuned networks of full size: Fashion-MNIST at 28 x 28 and CIFAR-10 at 32 x 32."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.diffusion_digits.run import flatten
from benchmarks.diffusion_setup import (
    WEIGHTS_DIR,
    ImageDataset,
    accuracy,
    load_or_compute,
    make_fashion_config,
    scale_images,
    select_machine,
    take_balanced,
)
from benchmarks.diffusion_tuning.fresh_test import load_fresh_test
from benchmarks.diffusion_tuning.weights import TUNED, TunedWeights
from benchmarks.runner import summarize
from ilk.core.data import Data
from ilk.diffusion.checkpoint import checkpoint as saved
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.errors.class_errors import Measure, compute_class_errors, compute_scores
from ilk.diffusion.errors.levels import Levels
from ilk.diffusion.pretraining import supervised_baseline
from ilk.diffusion.tuning.assessment import fit_scale, make_levels, measure_drawing
from ilk.methods.gda import GDA
from ilk.training.trainer import Batch

SEEDS = (10, 11, 12)  # of the noise; the other benchmarks use 0, 1, 2
LEVEL_COUNTS = (1, 2, 4, 16)
N_BEFORE = 500  # of the test images: the untuned network takes ten times as long
MAX_SIGMA, N_VALIDATION, N_GAUSSIAN, N_TIMED, DRAWN = 5.0, 300, 20_000, 64, 300
MEASURE = Measure(batch_size=512, precision="bfloat16")


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
    test = load_fresh_test(dataset.name, 2 if small else 100)
    validation = take_balanced(dataset.validation, 30 if small else N_VALIDATION)
    tuned = saved.load(WEIGHTS_DIR / weights.name)
    tag = f"{weights.name}{'-small' if small else ''}"
    levels = make_levels(tuned, weights.noise.mean, weights.noise.std)
    after = [
        load_or_compute(
            f"{tag}-after-{seed}", partial(classify, tuned, levels, validation, test, seed)
        )
        for seed in (SEEDS[:1] if small else SEEDS)
    ]
    table: dict[str, Any] = {
        "images": {"test": len(test), "validation": len(validation)},
        "updates": [c.recipe.steps for c in weights.stages],
        "after tuning": average(after),
        "seconds per image and level, after": time_classification(tuned, levels, test),
    }
    sigmas = make_fashion_config(0).noise.sigmas
    drawn = 20 if small else DRAWN
    if weights.base:
        base = saved.load(WEIGHTS_DIR / weights.base)
        base_levels = Levels.log_spaced(base, 16, base.sigmas[0], MAX_SIGMA)
        some = take_balanced(test, min(N_BEFORE, len(test)))
        before = load_or_compute(
            f"{tag}-before", partial(classify, base, base_levels, validation, some, SEEDS[0])
        )
        table["before tuning"] = average([before])
        table["images"]["test, before tuning"] = len(some)
        table["seconds per image and level, before"] = time_classification(base, base_levels, test)
        table["drawing, before"] = load_or_compute(
            f"{tag}-drawn-before", lambda: describe_drawing(base, test, drawn, sigmas)
        )
    table["drawing, after"] = load_or_compute(
        f"{tag}-drawn-after", lambda: describe_drawing(tuned, test, drawn, sigmas)
    )
    table |= load_or_compute(f"{tag}-gaussians", lambda: fit_gaussians(dataset, test, small))
    table |= load_or_compute(
        f"{tag}-supervised", lambda: fit_supervised(weights, dataset, test, small)
    )
    return table


def classify(
    network: Denoiser, levels: Levels, validation: Batch, test: Batch, seed: int
) -> list[dict[str, float]]:
    """Return accuracy and log loss by number of levels, chosen and weighted on `validation`."""
    sigmas, noise = torch.tensor(levels.sigmas), levels.draw_noise(network, seed)
    fit, test_errors = (
        compute_class_errors(network, scale_images(part), sigmas, noise, MEASURE)
        for part in (validation, test)
    )
    return [score_levels(fit, validation.y, test_errors, test.y, levels, m) for m in LEVEL_COUNTS]


def score_levels(
    fit: Tensor, y: Tensor, test_errors: Tensor, y_test: Tensor, levels: Levels, m: int
) -> dict[str, float]:
    """Return accuracy and log loss with the best `m` levels."""
    chosen = Levels.learn(fit, y, levels, max_levels=m)
    columns, weights = chosen.find_indices(levels), torch.tensor(chosen.weights)
    scores = [compute_scores(e[:, :, columns], weights) for e in (fit, test_errors)]
    log_p = (fit_scale(scores[0], y) * scores[1].double()).log_softmax(1)
    loss = -float(log_p.gather(1, y_test[:, None]).mean())
    return {"levels": m, "accuracy": accuracy(scores[1], y_test), "log loss": loss}


def average(seeds: list[list[dict[str, float]]]) -> list[dict[str, Any]]:
    """Return a row for each number of levels with means over seeds."""
    return [
        {
            "levels": rows[0]["levels"],
            "accuracy": summarize([r["accuracy"] for r in rows]),
            "log loss": summarize([r["log loss"] for r in rows]),
        }
        for rows in zip(*seeds, strict=True)
    ]


def time_classification(network: Denoiser, levels: Levels, test: Batch) -> float:
    """Return the processor seconds in which one level compares all classes of an image."""
    part, one = scale_images(test)[:N_TIMED], levels.take([0])
    start = time.process_time()
    compute_class_errors(network, part, torch.tensor(one.sigmas), one.draw_noise(network), MEASURE)
    return (time.process_time() - start) / len(part)


def describe_drawing(
    network: Denoiser, test: Batch, count: int, sigmas: tuple[float, float]
) -> dict[str, float]:
    """Return Fréchet distance, precision and recall of images drawn."""
    quality = measure_drawing(network, test, count, "cpu", sigmas)
    assert quality is not None, "enough images"
    return {
        "Fréchet distance": quality.frechet_distance,
        "precision": quality.precision,
        "recall": quality.recall,
    }


def fit_gaussians(dataset: ImageDataset, test: Batch, small: bool) -> dict[str, float]:
    """Return the accuracy of Gaussians per class on pixels, with one and with own covariances."""
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

    train = take_balanced(dataset.train, 400 if small else N_GAUSSIAN)
    x, x_test, y = flatten(train), flatten(test), train.y.numpy()
    shared = GDA().fit(Data(x, y, dataset.classes)).logits(x_test)
    pca = PCA(30 if small else 60, random_state=0).fit(x)
    own = QuadraticDiscriminantAnalysis(reg_param=0.01).fit(pca.transform(x), y)
    return {
        "Gaussians on pixels, one covariance": float((shared.argmax(1) == test.y.numpy()).mean()),
        "Gaussians on 60 principal components, own covariances": float(
            np.mean(own.predict(pca.transform(x_test)) == test.y.numpy())
        ),
    }


def fit_supervised(
    weights: TunedWeights, dataset: ImageDataset, test: Batch, small: bool
) -> dict[str, float]:
    """Return accuracy and processor time of the supervised network of the same trunk."""
    steps = 2 if small else SUPERVISED_STEPS
    config = make_fashion_config(0, steps)
    last = weights.stages[-1]
    config = type(config)(
        config.recipe,
        options=config.options,
        noise=config.noise,
        random_flip=last.random_flip,
        max_shift=last.max_shift,
    )
    start = time.process_time()
    baseline = supervised_baseline.fit_baseline(
        dataset.train, dataset.classes, config, select_machine()
    )
    return {
        "supervised network": accuracy(baseline.logits(test.x), test.y),
        "supervised network, updates": steps,
        "supervised network, processor seconds": time.process_time() - start,
    }


SUPERVISED_STEPS = 1_200
