"""The speed of training a head under M dropout masks per update, and its final error."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks import datasets
from benchmarks.claims import Claim, make_table
from benchmarks.long_tails import TrainTest, reduce_features
from benchmarks.runner import summarize
from ilk.methods.multi_sample_dropout import MultiSampleDropout
from ilk.training.heads import Head, cross_entropy, make_batch
from ilk.training.objective import LossFunction, Objective, augment_objective
from ilk.training.trainer import Batch, CheckpointConfig, Recipe, train

FILE, ENTRY = "methods/multi_sample_dropout.py", "multi-sample-dropout"
N_MASKS = 8
MASK_COUNTS: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
RATES: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7)
PILOT_SEED = 100  # the seed that hyperparameters are chosen with
MIN_LOSS = 1e-4  # nats, lower end of the plots
N_TRAIN, N_VALIDATION, N_TEST = 2000, 1000, 5000
TITLES = {"digits": "digits", "mnist": "MNIST pixels", "cifar": "CIFAR-10 through MobileNetV2"}


@dataclass(frozen=True, eq=False)
class DropoutResult:
    """Tables, plots and selected rates of one data set."""

    tables: list[dict[str, Any]]
    plots: list[dict[str, Any]]
    best_rates: dict[str, float]


@dataclass(frozen=True, eq=False)
class TrainingCurve:
    """One run: the loss on the training rows without dropout during training.

    Attributes:
        updates: Number of updates at each checkpoint, `[checkpoints]`.
        losses: Loss in nats, `[checkpoints]`.
        seconds: CPU seconds of training up to each checkpoint, `[checkpoints]`.
        test_error: Final fraction of test rows predicted wrongly.
    """

    updates: NDArray[np.int64]
    losses: NDArray[np.float64]
    seconds: NDArray[np.float64]
    test_error: float

    def find_level(self, level: float) -> int:
        """Return the first checkpoint with a loss of at most `level`, or the last checkpoint."""
        below = np.flatnonzero(self.losses <= level)
        return int(below[0]) if len(below) else len(self.losses) - 1


def compare_masks(name: str, small: bool = False) -> DropoutResult:
    """Compare all M on one data set."""
    masks, rates = (MASK_COUNTS, RATES) if not small else ((1, N_MASKS), RATES[1:3])
    seeds, recipe, interval = 5, Recipe(300, 128, 4e-3, 20), 10
    if small:
        seeds, recipe, interval = 2, Recipe(40, 64, 4e-3, 5), 5
    best_rates = {m: _select_rate(name, m, rates, recipe, interval) for m in (1, N_MASKS)}
    level = _find_half_way_loss(name, best_rates[1], recipe, interval)
    runs: dict[str, list[TrainingCurve]] = {}
    for seed in range(seeds):
        split, seeded = draw_split(name, seed), replace(recipe, seed=seed)
        for m in masks:
            method = MultiSampleDropout(m, best_rates[1 if m == 1 else N_MASKS], seed=seed)
            label = f"M = {m}"
            runs.setdefault(label, []).append(
                measure_curve(split, method.make_objective(), seeded, interval)
            )
        repeated_objective = repeat_rows(
            MultiSampleDropout(1, best_rates[N_MASKS], seed=seed), N_MASKS
        )
        runs.setdefault(REPEATED_ROWS, []).append(
            measure_curve(split, repeated_objective, seeded, interval)
        )
        same_rate = MultiSampleDropout(1, best_rates[N_MASKS], seed=seed).make_objective()
        runs.setdefault(SAME_RATE, []).append(measure_curve(split, same_rate, seeded, interval))
        low_rate = MultiSampleDropout(1, min(rates), seed=seed).make_objective()
        runs.setdefault(f"M = 1, rate {min(rates)}", []).append(
            measure_curve(split, low_rate, seeded, interval)
        )
        no_dropout = measure_curve(split, cross_entropy, seeded, interval)
        runs.setdefault("no dropout", []).append(no_dropout)
    chosen_rates = {"M = 1": best_rates[1], "M = 8": best_rates[N_MASKS], "target loss": level}
    return DropoutResult(
        make_tables(TITLES[name], runs, level), make_plots(name, runs), chosen_rates
    )


REPEATED_ROWS = f"M = 1, rows repeated {N_MASKS} times"
SAME_RATE = f"M = 1 at the rate of M = {N_MASKS}"


def make_tables(
    setting: str, runs: Mapping[str, list[TrainingCurve]], level: float
) -> list[dict[str, Any]]:
    """Return updates and seconds to the level, seconds per update, and the final error."""
    many_masks = f"M = {N_MASKS}"
    baselines = ("M = 1", SAME_RATE, REPEATED_ROWS)

    def make_one(metric: str, of: Any, against: tuple[str, ...] = baselines) -> dict[str, Any]:
        scores = {name: [float(of(c)) for c in curves] for name, curves in runs.items()}
        claims = [Claim(ENTRY, FILE, many_masks, baseline) for baseline in against]
        return make_table(setting, metric, scores, claims, better="lower")

    return [
        make_one("updates to the target training loss", lambda c: c.updates[c.find_level(level)]),
        make_one(
            "CPU seconds to the target training loss", lambda c: c.seconds[c.find_level(level)]
        ),
        make_one("CPU milliseconds per update", lambda c: 1000 * c.seconds[-1] / c.updates[-1]),
        make_one("test error at the end", lambda c: c.test_error, (*baselines, "no dropout")),
    ]


def make_plots(name: str, runs: Mapping[str, list[TrainingCurve]]) -> list[dict[str, Any]]:
    """Plot the loss against updates and against seconds, mean and interval over seeds."""
    specs = []
    for file, x in (("updates", "updates"), ("seconds", "CPU seconds of training")):
        series = {}
        for label, curves in runs.items():
            losses = np.array([c.losses for c in curves])
            at = np.mean([getattr(c, file) for c in curves], axis=0)
            series[label] = [
                _make_point(float(a), column) for a, column in zip(at, losses.T, strict=True)
            ]
        spec = {"kind": "lines", "title": f"Loss on the training rows, {TITLES[name]}", "x": x}
        spec["file"] = f"multi-sample-dropout-{name}-{file}.svg"
        specs.append({**spec, "y": "nats, without dropout", "series": series, "log_y": True})
    return specs


def _make_point(at: float, losses: NDArray[np.float64]) -> list[float]:
    """Return x, the mean over seeds and the ends of its interval, clipped for the log axis."""
    interval = summarize(losses.tolist())
    mean, half = interval["mean"] or 0.0, interval["half_width"] or 0.0
    return [at, max(mean, MIN_LOSS), max(mean - half, MIN_LOSS), max(mean + half, MIN_LOSS)]


def repeat_rows(method: MultiSampleDropout, repeats: int) -> Objective:
    """Return the objective of `method` on batches in which each row occurs `repeats` times."""

    def repeat(batch: Batch, _generator: torch.Generator) -> Batch:
        return Batch(batch.x.repeat(repeats, 1), batch.y.repeat(repeats))

    return augment_objective(method.make_objective(), repeat)


def measure_curve(
    split: TrainTest, objective: Objective | LossFunction, recipe: Recipe, interval: int
) -> TrainingCurve:
    """Train a head and record its loss every `interval` updates; recording is not timed."""
    net = Head.from_data(split.train, MultiSampleDropout().hidden, recipe.seed)
    rows = make_batch(net, split.train)
    measured: list[tuple[int, float, float]] = []
    resumed = time.process_time()
    elapsed = 0.0

    def record(step: int, _loss: float, average: nn.Module) -> None:
        nonlocal resumed, elapsed
        elapsed += time.process_time() - resumed
        with torch.inference_mode():
            loss = float(cross_entropy(average, rows, torch.Generator()))
        measured.append((step, loss, elapsed))
        resumed = time.process_time()

    trained = train(
        net,
        rows,
        objective,
        recipe,
        checkpointing=CheckpointConfig(interval=interval, on_checkpoint=record),
    )
    assert isinstance(trained, Head)
    predicted = trained.to_model().logits(split.test.x).argmax(1)
    updates, losses, seconds = (np.array(part) for part in zip(*measured, strict=True))
    return TrainingCurve(updates, losses, seconds, float(np.mean(predicted != split.test.y)))


def draw_split(name: str, seed: int, *, for_validation: bool = False) -> TrainTest:
    """Draw training and test rows; `for_validation` tests on further training rows instead."""
    rng = np.random.default_rng(seed)
    if name == "digits":
        data = datasets.read_digits()
        order = rng.permutation(len(data))
        rows, rest = data.take(order[:600]), data.take(order[1000:])
        return TrainTest(rows, data.take(order[600:1000]) if for_validation else rest)
    load = datasets.read_mnist if name == "mnist" else datasets.read_cifar
    pool = load("train")
    order = rng.permutation(len(pool))
    test = pool.take(order[N_TRAIN : N_TRAIN + N_VALIDATION]) if for_validation else load("test")
    if not for_validation:
        test = test.take(rng.permutation(len(test))[:N_TEST])
    return reduce_features(TrainTest(pool.take(order[:N_TRAIN]), test), seed)


def _select_rate(
    name: str, m: int, rates: tuple[float, ...], recipe: Recipe, interval: int
) -> float:
    """Return the rate with the smallest error on held-out training rows."""
    split, seeded = (
        draw_split(name, PILOT_SEED, for_validation=True),
        replace(recipe, seed=PILOT_SEED),
    )
    errors = [
        measure_curve(
            split, MultiSampleDropout(m, rate, seed=PILOT_SEED).make_objective(), seeded, interval
        ).test_error
        for rate in rates
    ]
    return rates[int(np.argmin(errors))]


def _find_half_way_loss(name: str, rate: float, recipe: Recipe, interval: int) -> float:
    """Return the training loss of M = 1 after half of its updates, with the pilot seed."""
    method, seeded = MultiSampleDropout(1, rate, seed=PILOT_SEED), replace(recipe, seed=PILOT_SEED)
    curve = measure_curve(
        draw_split(name, PILOT_SEED, for_validation=True), method.make_objective(), seeded, interval
    )
    return float(curve.losses[len(curve.losses) // 2 - 1])
