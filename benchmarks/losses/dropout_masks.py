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
CONDITIONS = (("notmnist", 1), ("notmnist", 2), ("cifar", 2))  # data set, hidden layers
RATES: tuple[float, ...] = (0.2, 0.5)
SEEDS = range(200, 205)
PILOT_SEED = 400  # the seed that hyperparameters are chosen with
MIN_LOSS = 1e-4  # nats, lower end of the plots
N_TRAIN, N_VALIDATION, N_TEST = 2000, 1000, 5000
TITLES = {
    "digits": "digits",
    "notmnist": "notMNIST pixels",
    "cifar": "CIFAR-10 through MobileNetV2",
}


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


def compare_masks(name: str, depth: int, small: bool = False) -> DropoutResult:
    """Compare one mask with several on one data set, in heads of `depth` hidden layers."""
    rates, seeds, recipe, interval = RATES, SEEDS, Recipe(200, 128, 4e-3, 20), 10
    if small:
        rates, seeds, recipe, interval = RATES[:1], SEEDS[:2], Recipe(40, 64, 4e-3, 5), 5
    one, many = (
        MultiSampleDropout(m, _select_rate(name, MultiSampleDropout(m, depth=depth), rates, recipe))
        for m in (1, N_MASKS)
    )
    one, many = replace(one, depth=depth), replace(many, depth=depth)
    level = _find_half_way_loss(name, one, recipe, interval)
    runs: dict[str, list[TrainingCurve]] = {}
    for seed in seeds:
        split, seeded = draw_split(name, seed), replace(recipe, seed=seed)
        objectives: dict[str, Objective | LossFunction] = {
            "M = 1": one.make_objective(),
            f"M = {N_MASKS}": many.make_objective(),
            REPEATED_ROWS: repeat_rows(replace(many, n_masks=1), N_MASKS),
            NO_DROPOUT: cross_entropy,
        }
        network = replace(one, seed=seed)
        for label, objective in objectives.items():
            runs.setdefault(label, []).append(
                measure_curve(split, network, objective, seeded, interval)
            )
    chosen_rates = {
        "M = 1": one.dropout,
        f"M = {N_MASKS}": many.dropout,
        "target loss": level,
    }
    setting = f"{TITLES[name]}, {depth} hidden layer{'s' if depth > 1 else ''}"
    plots = make_plots(name, depth, runs)
    return DropoutResult(make_tables(setting, runs, level), plots, chosen_rates)


REPEATED_ROWS = f"M = 1, rows repeated {N_MASKS} times"
NO_DROPOUT = "no dropout"


def make_tables(
    setting: str, runs: Mapping[str, list[TrainingCurve]], level: float
) -> list[dict[str, Any]]:
    """Return updates and seconds to the level, seconds per update, and the final error."""
    many_masks = f"M = {N_MASKS}"
    baselines = ("M = 1", REPEATED_ROWS)

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
        make_one("test error at the end", lambda c: c.test_error, (*baselines, NO_DROPOUT)),
    ]


def make_plots(
    name: str, depth: int, runs: Mapping[str, list[TrainingCurve]]
) -> list[dict[str, Any]]:
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
        spec["title"] = f"{spec['title']}, depth {depth}"
        spec["file"] = f"multi-sample-dropout-{name}-depth-{depth}-{file}.svg"
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
    split: TrainTest,
    method: MultiSampleDropout,
    objective: Objective | LossFunction,
    recipe: Recipe,
    interval: int,
) -> TrainingCurve:
    """Train the network of `method` and record its loss every `interval` updates, untimed."""
    net = method.make_network(split.train)
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
    pool = datasets.read_notmnist() if name == "notmnist" else datasets.read_cifar("test")
    order = rng.permutation(len(pool))
    validation = order[N_TRAIN : N_TRAIN + N_VALIDATION]
    test = validation if for_validation else order[N_TRAIN + N_VALIDATION :][:N_TEST]
    return reduce_features(TrainTest(pool.take(order[:N_TRAIN]), pool.take(test)), seed)


def _select_rate(
    name: str, method: MultiSampleDropout, rates: tuple[float, ...], recipe: Recipe
) -> float:
    """Return the rate with the smallest error on held-out training rows."""
    split, seeded = (
        draw_split(name, PILOT_SEED, for_validation=True),
        replace(recipe, seed=PILOT_SEED),
    )
    errors = [
        measure_curve(
            split,
            replace(method, seed=PILOT_SEED),
            replace(method, dropout=rate).make_objective(),
            seeded,
            recipe.steps,
        ).test_error
        for rate in rates
    ]
    return rates[int(np.argmin(errors))]


def _find_half_way_loss(
    name: str, method: MultiSampleDropout, recipe: Recipe, interval: int
) -> float:
    """Return the training loss of `method` after half of its updates, with the pilot seed."""
    method, seeded = replace(method, seed=PILOT_SEED), replace(recipe, seed=PILOT_SEED)
    split = draw_split(name, PILOT_SEED, for_validation=True)
    curve = measure_curve(split, method, method.make_objective(), seeded, interval)
    return float(curve.losses[len(curve.losses) // 2 - 1])
