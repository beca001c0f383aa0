"""Heads that differ only in the loss of a margin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import datasets
from benchmarks.claims import Claim, make_table
from benchmarks.long_tails import TrainTest, reduce_features
from ilk.core.data import Data
from ilk.methods.ensloss import EnsLoss, make_recipe
from ilk.training.heads import Head, fit_head
from ilk.training.objective import LossFunction, Objective
from ilk.training.objectives.convex_ensemble import compute_margins
from ilk.training.trainer import Batch, Recipe

FILE, ENTRY = "methods/ensloss.py", "ensloss"
ENSEMBLE_LOSS, UNORDERED = "EnsLoss", "EnsLoss, unordered"
FIXED_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "logistic loss": lambda z: functional.softplus(-z),
    "hinge loss": lambda z: functional.relu(1 - z),
    "exponential loss": lambda z: torch.exp(-z),
}
DIGITS_PER_CLASS, LARGE_SETS_PER_CLASS, N_AXES = 30, 200, 64  # training rows per class
SEEDS = range(200, 207)
DATASETS = ("breast cancer", "digits 3 and 5", "notmnist I and J", "cifar cat and dog")


@dataclass
class LossComparison:
    """Scores of the data sets so far, by method, data set and seed."""

    scores: dict[str, list[list[float]]] = field(default_factory=dict)

    def compare_losses(self, name: str, seeds: range, updates: int | None = None) -> dict[str, Any]:
        """Compare all losses on one data set; `updates` replaces the method's own number."""
        scores: dict[str, list[float]] = {}
        for seed in seeds:
            split = draw_split(name, seed)
            head_recipe = make_recipe(len(split.train), seed)
            head_recipe = replace(head_recipe, steps=updates or head_recipe.steps)
            for method, objective in make_objectives(seed, len(split.train)).items():
                scores.setdefault(method, []).append(fit_and_score(split, objective, head_recipe))
        for method, values in scores.items():
            self.scores.setdefault(method, []).append(values)
        return make_table(name, "test accuracy", scores, make_claims())

    def tabulate_mean(self) -> dict[str, Any]:
        """Return the mean over the data sets, seed by seed."""
        scores = {
            method: np.mean(values, axis=0).tolist() for method, values in self.scores.items()
        }
        n_sets = len(next(iter(self.scores.values())))
        return make_table(f"mean of {n_sets} binary sets", "test accuracy", scores, make_claims())


def make_claims() -> list[Claim]:
    """Return the claims of EnsLoss against every other loss."""
    return [Claim(ENTRY, FILE, ENSEMBLE_LOSS, baseline) for baseline in (*FIXED_LOSSES, UNORDERED)]


def make_objectives(seed: int, n: int) -> dict[str, Objective | LossFunction]:
    """Return the objective of each method for `n` training rows."""
    methods: dict[str, Objective | LossFunction] = {
        ENSEMBLE_LOSS: EnsLoss(seed=seed).make_objective(n),
        UNORDERED: EnsLoss(ordered=False, seed=seed).make_objective(n),
    }
    return methods | {name: _make_objective(loss) for name, loss in FIXED_LOSSES.items()}


def _make_objective(loss: Callable[[Tensor], Tensor]) -> LossFunction:
    def objective(network: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
        return loss(compute_margins(network(batch.x), batch.y)).mean()

    return objective


def fit_and_score(
    split: TrainTest, objective: Objective | LossFunction, head_recipe: Recipe
) -> float:
    """Return the test accuracy of a head that starts like `EnsLoss` and minimises `objective`."""
    net = Head.from_data(split.train, EnsLoss().hidden, head_recipe.seed)
    for part in net.output_layer.parameters():
        part.data.zero_()
    model = fit_head(net, split.train, objective, head_recipe).to_model()
    return float(np.mean(model.logits(split.test.x).argmax(1) == split.test.y))


def draw_split(name: str, seed: int) -> TrainTest:
    """Draw training and test rows of two classes."""
    rng = np.random.default_rng(seed)
    if name == "breast cancer":
        data = _load_breast_cancer()
        order = rng.permutation(len(data))
        n = int(0.4 * len(data))
        return TrainTest(data.take(order[:n]), data.take(order[n:]))
    kind, pair = name.split(" ", 1)
    first_class, second_class = pair.split(" and ")
    if kind == "digits":
        pool = select_two_classes(datasets.read_digits(), first_class, second_class)
        rows = _sample_per_class(pool, DIGITS_PER_CLASS, rng)
        rest = np.setdiff1d(np.arange(len(pool)), rows)
        return TrainTest(pool.take(rows), pool.take(rest))
    data = datasets.read_cifar("test") if kind == "cifar" else datasets.read_notmnist()
    pool = select_two_classes(data, first_class, second_class)
    rows = _sample_per_class(pool, LARGE_SETS_PER_CLASS, rng)
    rest = np.setdiff1d(np.arange(len(pool)), rows)
    return reduce_features(TrainTest(pool.take(rows), pool.take(rest)), seed, N_AXES)


def select_two_classes(data: Data, first_class: str, second_class: str) -> Data:
    """Return the rows of two classes, as classes 0 and 1."""
    subset = data.take_classes([first_class, second_class])
    y = (subset.y == data.classes.index(second_class)).astype(np.int64)
    return Data(subset.x, y, (first_class, second_class))


def _sample_per_class(
    data: Data, n: int, rng: np.random.Generator
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Draw `n` rows of each class."""
    order = rng.permutation(len(data))
    return np.concatenate([order[data.y[order] == c][:n] for c in range(data.k)])


def _load_breast_cancer() -> Data:
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return Data(x.astype(np.float32), y, ("malignant", "benign"))
