"""How accurate is the diffusion classifier for a given number of network calls?

Accuracy on test images against network calls per image: all classes at the first 1 to 64 of evenly
spread levels; the paper's two-stage pruning (50 levels, five remaining classes, 500 levels); a race
over learned levels that drops a class once it has lost, at three error rates; and a single noise,
random or optimised on 8 images per class, beside no noise at all with the level given nevertheless.
Level weights, races and noises are learned from images in neither the training set of the network
nor the test set: a quarter of the training part of digits (seeds 0 to 2), 2,000 held-out images of
Fashion-MNIST (one network, one seed). 300 test images of digits are classified and 100 of
Fashion-MNIST, which resolves whole points of accuracy only; single noises use 200 and 100. Times
are of one process on a shared machine and only roughly comparable. Finished parts are cached, so
the total time is that of the last command.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from benchmarks.diffusion_setup import (
    ImageDataset,
    load_digit_images,
    load_fashion_images,
    load_or_compute,
    load_pretrained,
    make_digits_config,
    make_fashion_config,
    scale_images,
    take_balanced,
)
from benchmarks.runner import summarize
from ilk.core.errors import Unavailable
from ilk.diffusion.classification.calibration_errors import CalibrationErrors
from ilk.diffusion.classification.race import Race
from ilk.diffusion.classification.staged import StagedPruning
from ilk.diffusion.classification.strategy import Strategy
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.errors.class_errors import Measure, compute_class_errors, compute_scores
from ilk.diffusion.errors.levels import Levels
from ilk.diffusion.noise_optimization.single_noise import (
    measure_single_noise_accuracy,
    select_sigma,
)
from ilk.diffusion.noise_optimization.tuning import PAPER_CONFIG, NoiseTuningConfig, optimize_noise
from ilk.diffusion.pretraining.pretrain import PretrainConfig
from ilk.training.trainer import Batch

SEEDS = (0, 1, 2)
LEVEL_COUNTS = (1, 2, 4, 8, 16, 32, 64)
ERROR_RATES = (0.004, 0.01, 0.05)
N_NOISES, SHOTS, N_IMAGES = 50, 8, 300
N_HELD_OUT, N_NOISE_TEST = (
    400,
    200,
)  # calibration images of levels and races; test images of single noises

MEASURE = Measure(batch_size=512, precision="bfloat16")

Record = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Case:
    """A network, a seed of its noise, and the number of test images (0: all)."""

    dataset: ImageDataset
    config: PretrainConfig
    name: str
    seed: int
    n_test: int = 0

    @cached_property
    def network(self) -> Denoiser:
        return load_pretrained(self.dataset, self.config, self.name)

    @cached_property
    def test(self) -> Batch:
        return take_balanced(self.dataset.test, self.n_test) if self.n_test else self.dataset.test

    @cached_property
    def calibration(self) -> CalibrationErrors:
        """Errors of held-out images at 32 levels."""
        levels, validation = (
            Levels.log_spaced(self.network, 32),
            take_balanced(self.dataset.validation, N_HELD_OUT),
        )
        sigmas, noise = torch.tensor(levels.sigmas), levels.draw_noise(self.network, self.seed)
        return CalibrationErrors(
            compute_class_errors(self.network, scale_images(validation), sigmas, noise, MEASURE),
            validation.y,
            levels,
        )

    def evaluate(self, level_counts: tuple[int, ...], n_noises: int) -> list[Record]:
        """Return one record per strategy."""
        name = f"cost-{self.name}-{self.seed}"
        return [
            *load_or_compute(f"{name}-naive", lambda: _evaluate_exhaustive(self, level_counts)),
            *load_or_compute(f"{name}-staged", lambda: _evaluate_staged(self)),
            *load_or_compute(f"{name}-races", lambda: _evaluate_races(self)),
            *load_or_compute(f"{name}-noise", lambda: _evaluate_noises(self, n_noises)),
        ]


def run(small: bool = False) -> dict[str, Any]:
    """Return the curves of both data sets; Fashion-MNIST is left out if its files are missing."""
    if small:
        case = Case(load_digit_images(0, 0.25), make_digits_config(0, 10), "digits-small", 0, 20)
        return _summarize_seeds("digits", [case.evaluate((1, 2), 4)])
    cases = [
        Case(load_digit_images(s, 0.25), make_digits_config(s), f"digits-held-{s}", s, N_IMAGES)
        for s in SEEDS
    ]
    results = _summarize_seeds("digits", [case.evaluate(LEVEL_COUNTS, N_NOISES) for case in cases])
    try:
        dataset = load_fashion_images()
    except Unavailable:
        return results
    case = Case(dataset, make_fashion_config(0), "fashion-0", 0, N_IMAGES // 3)
    fashion_results = _summarize_seeds("fashion", [case.evaluate(LEVEL_COUNTS[:6], N_NOISES)])
    return {**results, **fashion_results, "plots": [*results["plots"], *fashion_results["plots"]]}


def _evaluate_exhaustive(case: Case, level_counts: tuple[int, ...]) -> list[Record]:
    """Evaluate all classes at the first levels of an even order, from one table of errors."""
    test, k = case.test, len(case.network.classes)
    levels = Levels.log_spaced(case.network, max(level_counts))
    sigmas, noise = torch.tensor(levels.sigmas), levels.draw_noise(case.network, case.seed)
    start = time.perf_counter()
    level_errors = compute_class_errors(case.network, scale_images(test), sigmas, noise, MEASURE)
    seconds_per_call = (time.perf_counter() - start) / (len(test) * k * max(level_counts))
    weights, records = torch.tensor(levels.weights), []
    for n in level_counts:
        is_correct = compute_scores(level_errors[:, :, :n], weights[:n]).argmax(1) == test.y
        records.append(
            _make_record(
                f"all classes, {n} levels", case, is_correct, k * n, seconds_per_call * k * n
            )
        )
    return records


def _evaluate_staged(case: Case) -> list[Record]:
    """Evaluate the paper's schedule for 10 classes with its weights of errors."""
    levels = Levels.from_schedule(case.network, 500)
    return [_time_strategy("two stages, 50 and 500 levels", case, StagedPruning(), levels)]


def _evaluate_races(case: Case) -> list[Record]:
    """Evaluate races over learned levels."""
    levels = case.calibration.learn_levels()
    level_errors = case.calibration.errors[:, :, levels.find_indices(case.calibration.levels)]
    return [
        _time_strategy(
            f"race, error rate {rate}", case, Race.calibrate(level_errors, levels, rate), levels
        )
        for rate in ERROR_RATES
    ]


def _time_strategy(name: str, case: Case, strategy: Strategy, levels: Levels) -> Record:
    start = time.perf_counter()
    result = strategy.score_batch(case.network, scale_images(case.test), levels, MEASURE, case.seed)
    seconds = (time.perf_counter() - start) / len(case.test)
    is_correct = result.scores.argmax(1) == case.test.y
    return _make_record(name, case, is_correct, float(result.n_calls.double().mean()), seconds)


def _make_record(
    name: str, case: Case, is_correct: torch.Tensor, calls: float, seconds: float
) -> Record:
    return {
        "seed": case.seed,
        "strategy": name,
        "accuracy": float(is_correct.double().mean()),
        "images": len(is_correct),
        "calls": float(calls),
        "seconds": seconds,
    }


def _evaluate_noises(case: Case, n_noises: int) -> list[Record]:
    """Evaluate single noises: random ones, and one learned from 8 images per class."""
    test, calibration = take_balanced(case.test, N_NOISE_TEST), case.calibration
    rows = torch.cat([torch.nonzero(calibration.y == c).flatten()[:SHOTS] for c in range(10)])
    validation = take_balanced(case.dataset.validation, N_HELD_OUT)
    x, y = scale_images(validation)[rows], validation.y[rows]
    sigma = select_sigma(calibration.errors[rows], y, torch.tensor(calibration.levels.sigmas))
    measure, images = Measure("l1", 512, "bfloat16"), scale_images(test)
    random_accuracies = measure_single_noise_accuracy(
        case.network, (images, test.y), sigma, range(n_noises), measure
    )
    records = [_make_random_record(case, random_accuracies, sigma)]
    zero_noise = torch.zeros(1, *case.network.shape)
    zero_noise_errors = compute_class_errors(
        case.network, images, torch.tensor([sigma]), zero_noise, measure
    )[:, :, 0]
    is_correct = zero_noise_errors.argmin(1) == test.y
    records.append(
        {**_make_record("no noise, level given", case, is_correct, 10.0, 0.0), "sigma": sigma}
    )
    tunings = {
        "one optimised noise (data set)": NoiseTuningConfig(components="dataset", seed=case.seed),
        "one optimised noise (offset)": NoiseTuningConfig(components="offset", seed=case.seed),
        "one optimised noise (both)": NoiseTuningConfig(components="both", seed=case.seed),
        "one optimised noise (both, the paper's settings)": replace(PAPER_CONFIG, seed=case.seed),
    }
    for name, settings in tunings.items():
        optimized = optimize_noise(case.network, x, y, sigma, settings)
        start = time.perf_counter()
        result = optimized.score_batch(case.network, images, measure)
        seconds = (time.perf_counter() - start) / len(test)
        is_correct = result.scores.argmax(1) == test.y
        records.append({**_make_record(name, case, is_correct, 10.0, seconds), "sigma": sigma})
    return records


def _make_random_record(case: Case, accuracies: torch.Tensor, sigma: float) -> Record:
    return {
        "seed": case.seed,
        "strategy": "one random noise",
        "accuracy": float(accuracies.mean()),
        "95th percentile": float(accuracies.quantile(0.95)),
        "noises": [float(a) for a in accuracies],
        "calls": 10.0,
        "sigma": sigma,
    }


def _summarize_seeds(name: str, seeds: list[list[Record]]) -> dict[str, Any]:
    """Return means over seeds, and the plots."""
    labels = [row["strategy"] for row in seeds[0]]
    table = []
    for i, label in enumerate(labels):
        rows = [seed[i] for seed in seeds]
        keys = [k for k, v in rows[0].items() if isinstance(v, float)]
        table.append({"strategy": label, **{k: summarize([r[k] for r in rows]) for k in keys}})
    random_record = next(row for row in seeds[0] if "noises" in row)
    best_record = next(
        row for row in seeds[0] if row["strategy"] == "one optimised noise (data set)"
    )
    plots = [_plot_accuracy(name, table), _plot_histogram(name, random_record, best_record)]
    records = [{k: v for k, v in row.items() if k != "noises"} for seed in seeds for row in seed]
    return {name: {"means": table, "seeds": records}, "plots": plots}


def _plot_accuracy(name: str, table: list[Record]) -> dict[str, Any]:
    kinds = {"all classes": "all classes", "two stages": "two stages", "race": "race", "": ""}
    series: dict[str, list[list[float]]] = {}
    for row in table:
        kind = next(k for k in kinds if row["strategy"].startswith(k))
        point = [row["calls"]["mean"], row["accuracy"]["mean"]]
        series.setdefault(kinds[kind] or row["strategy"], []).append(point)
    return {
        "file": f"diffusion_cost-{name}.svg",
        "kind": "lines",
        "title": f"{name}: accuracy by network calls",
        "x": "network calls per image",
        "y": "test accuracy, mean over seeds",
        "series": series,
        "log_x": True,
    }


def _plot_histogram(name: str, random: Record, best: Record) -> dict[str, Any]:
    marks = {
        "mean": random["accuracy"],
        "95th percentile": random["95th percentile"],
        "optimised": best["accuracy"],
    }
    return {
        "file": f"diffusion_cost-{name}-noises.svg",
        "kind": "histogram",
        "title": f"{name}: one noise, {len(random['noises'])} random and one optimised",
        "x": "test accuracy",
        "y": "noises",
        "values": random["noises"],
        "marks": marks,
    }
