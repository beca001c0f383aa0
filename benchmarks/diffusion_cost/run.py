"""How accurate is the diffusion classifier for a given number of network calls?

Accuracy on test images against network calls per image: all classes at the first 1 to 16 of evenly
spread levels; the paper's two-stage pruning (50 levels, five remaining classes, 500 levels; digits
only, 20 images per seed); a race over learned levels that drops a class once it has lost, at three
error rates; and single noises. These are 50 random ones, none at all, the best of 8 random ones,
one optimised on 8 images per class, and what `ilk tune --noise-shots 8` chooses among them, with
one and with four calls per class; levels, epochs and kinds are chosen on held-out images. The
paper's settings (both parts of the noise, last epoch) are tried at the level that is best without
noise, on digits only. Level weights, races and noises are learned from images in neither the
training set of the network nor the test set: a quarter of the training part of digits (one network
per seed, 4 to 6), 1,000 held-out images of USPS and 2,000 of Fashion-MNIST (one network each; three
seeds of the held-out images, the noises and the test images). 200 test images per seed are
classified, 100 of Fashion-MNIST, which resolves whole points of accuracy only. Times are of one
process on a shared machine and only roughly comparable. Finished parts are cached, so the total
time is that of the last command.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch

from benchmarks.diffusion_cost.noises import NoiseCase, evaluate_noises
from benchmarks.diffusion_setup import (
    ImageDataset,
    load_digit_images,
    load_fashion_images,
    load_or_compute,
    load_pretrained,
    load_usps_images,
    make_digits_config,
    make_fashion_config,
    make_usps_config,
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
from ilk.diffusion.pretraining.pretrain import PretrainConfig
from ilk.training.trainer import Batch

SEEDS = (4, 5, 6)
LEVEL_COUNTS = (1, 2, 4, 8, 16)
ERROR_RATES = (0.004, 0.01, 0.05)
N_NOISES, N_IMAGES = 50, 200
N_STAGED = 20  # test images of the two stages, which need 2,750 calls each
N_HELD_OUT, N_LEVELS = 300, 16  # calibration images and levels of races

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
        """Other test images for every seed."""
        order = torch.randperm(
            len(self.dataset.test), generator=torch.Generator().manual_seed(self.seed)
        )
        shuffled = Batch(self.dataset.test.x[order], self.dataset.test.y[order])
        return take_balanced(shuffled, self.n_test) if self.n_test else shuffled

    @cached_property
    def calibration(self) -> CalibrationErrors:
        """Errors of held-out images at 16 levels."""
        levels, validation = (
            Levels.log_spaced(self.network, N_LEVELS),
            take_balanced(self.dataset.validation, N_HELD_OUT),
        )
        sigmas, noise = torch.tensor(levels.sigmas), levels.draw_noise(self.network, self.seed)
        return CalibrationErrors(
            compute_class_errors(self.network, scale_images(validation), sigmas, noise, MEASURE),
            validation.y,
            levels,
        )

    def evaluate(
        self, level_counts: tuple[int, ...], n_noises: int, has_slow_rows: bool = True
    ) -> list[Record]:
        """Return one record per strategy."""
        name = f"cost-{self.name}-{self.seed}"
        noises = NoiseCase(
            self.network, self.dataset.validation, self.test, self.seed, n_noises, has_slow_rows
        )
        parts = {
            "naive": lambda: _evaluate_exhaustive(self, level_counts),
            "races": lambda: _evaluate_races(self),
            "noise": lambda: evaluate_noises(noises),
        }
        if has_slow_rows:
            parts["staged"] = lambda: _evaluate_staged(self)
        return [
            row for part, run in parts.items() for row in load_or_compute(f"{name}-{part}", run)
        ]


def run(small: bool = False) -> dict[str, Any]:
    """Return the curves of each data set; those whose files are missing are left out."""
    torch.set_num_threads(1)
    if small:
        case = Case(load_digit_images(0, 0.25), make_digits_config(0, 10), "digits-small", 0, 20)
        return _summarize_seeds("digits", [case.evaluate((1, 2), 4, False)])
    cases = [
        Case(load_digit_images(s, 0.25), make_digits_config(s), f"digits-held-{s}", s, N_IMAGES)
        for s in SEEDS
    ]
    results = _summarize_seeds("digits", [c.evaluate(LEVEL_COUNTS, N_NOISES) for c in cases])
    others: list[tuple[Callable[[], ImageDataset], PretrainConfig, str, int]] = [
        (load_usps_images, make_usps_config(0), "usps-0", N_IMAGES),
        (partial(load_fashion_images, 100), make_fashion_config(0), "fashion-0", N_IMAGES // 2),
    ]
    for load_images, config, name, n_test in others:
        try:
            dataset = load_images()
        except Unavailable:
            continue
        cases = [Case(dataset, config, name, s, n_test) for s in SEEDS]
        seeds = [c.evaluate(LEVEL_COUNTS, N_NOISES, False) for c in cases]
        more = _summarize_seeds(dataset.name, seeds)
        results = {**results, **more, "plots": [*results["plots"], *more["plots"]]}
    return results


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
    few = replace(case, n_test=N_STAGED)
    return [_time_strategy("two stages, 50 and 500 levels", few, StagedPruning(), levels)]


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


def _summarize_seeds(name: str, seeds: list[list[Record]]) -> dict[str, Any]:
    """Return means over seeds, and the plots."""
    labels = [row["strategy"] for row in seeds[0]]
    table = []
    for i, label in enumerate(labels):
        rows = [seed[i] for seed in seeds]
        keys = [k for k, v in rows[0].items() if isinstance(v, float)]
        table.append({"strategy": label, **{k: summarize([r[k] for r in rows]) for k in keys}})
    random_record = next(row for row in seeds[0] if "noises" in row)
    best_record = next(row for row in seeds[0] if row["strategy"].startswith("optimised noise"))
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
