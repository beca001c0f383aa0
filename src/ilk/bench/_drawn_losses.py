"""Heads that differ in the loss of a margin alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.bench import _sets
from ilk.bench._family import Claim, table
from ilk.bench._long_tails import Cut, reduced
from ilk.data import Data
from ilk.methods.ensloss import EnsLoss, margins, recipe
from ilk.training.heads import Head, fitted
from ilk.training.loop import Batch, Objective, Recipe

FILE, ROW = "methods/ensloss.py", "ensloss"
ENSLOSS, UNORDERED = "EnsLoss", "EnsLoss without order"
FIXED: dict[str, Callable[[Tensor], Tensor]] = {
    "logistic loss": lambda z: functional.softplus(-z),
    "hinge loss": lambda z: functional.relu(1 - z),
    "exponential loss": lambda z: torch.exp(-z),
}
DIGITS, PHOTOS, AXES = 30, 200, 64  # rows a class to learn from
SETS = (
    "breast cancer",
    "digits 8 and 9",
    "digits 3 and 5",
    "cifar cat and dog",
    "cifar bird and deer",
    "cifar automobile and truck",
)


@dataclass
class Together:
    """Scores of the sets so far, by contender, set and seed."""

    scores: dict[str, list[list[float]]] = field(default_factory=dict)

    def of_set(self, name: str, seeds: int, updates: int | None = None) -> dict[str, Any]:
        """Test accuracy of every contender on one set; `updates` in place of the method's own."""
        scores: dict[str, list[float]] = {}
        for seed in range(seeds):
            cut = drawn(name, seed)
            told = recipe(len(cut.train), seed)
            told = replace(told, steps=updates or told.steps)
            for who, objective in objectives(seed).items():
                scores.setdefault(who, []).append(learnt(cut, objective, told))
        for who, values in scores.items():
            self.scores.setdefault(who, []).append(values)
        return table(name, "test accuracy", scores, claims())

    def all(self) -> dict[str, Any]:
        """The mean over the sets, seed by seed."""
        scores = {who: np.mean(values, axis=0).tolist() for who, values in self.scores.items()}
        number = len(next(iter(self.scores.values())))
        return table(f"mean of {number} binary sets", "test accuracy", scores, claims())


def claims() -> list[Claim]:
    """EnsLoss against every other."""
    return [Claim(ROW, FILE, ENSLOSS, other) for other in (*FIXED, UNORDERED)]


def objectives(seed: int) -> dict[str, Objective]:
    """What each contender minimises."""
    made: dict[str, Objective] = {
        ENSLOSS: EnsLoss(seed=seed).objective,
        UNORDERED: EnsLoss(ordered=False, seed=seed).objective,
    }
    return made | {name: _of_margins(loss) for name, loss in FIXED.items()}


def _of_margins(loss: Callable[[Tensor], Tensor]) -> Objective:
    def objective(network: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
        return loss(margins(network(batch.x), batch.y)).mean()

    return objective


def learnt(cut: Cut, objective: Objective, told: Recipe) -> float:
    """Test accuracy of a head that starts as `EnsLoss` does and minimises `objective`."""
    net = Head.of(cut.train, EnsLoss().hidden, told.seed)
    for part in net.outer.parameters():
        part.data.zero_()
    model = fitted(net, cut.train, objective, told).model()
    return float(np.mean(model.logits(cut.test.x).argmax(1) == cut.test.y))


def drawn(name: str, seed: int) -> Cut:
    """Rows of two classes to learn from and to answer for."""
    rng = np.random.default_rng(seed)
    if name == "breast cancer":
        data = _cancer()
        order = rng.permutation(len(data))
        n = int(0.4 * len(data))
        return Cut(data.rows(order[:n]), data.rows(order[n:]))
    kind, pair = name.split(" ", 1)
    one, other = pair.split(" and ")
    if kind == "digits":
        pool = of_two(_sets.digits(), one, other)
        rows = _each(pool, DIGITS, rng)
        rest = np.setdiff1d(np.arange(len(pool)), rows)
        return Cut(pool.rows(rows), pool.rows(rest))
    pool, test = (of_two(_sets.cifar(part), one, other) for part in ("train", "test"))
    return reduced(Cut(pool.rows(_each(pool, PHOTOS, rng)), test), seed, AXES)


def of_two(data: Data, one: str, other: str) -> Data:
    """The rows of two classes, as classes 0 and 1."""
    part = data.only([one, other])
    y = (part.y == data.classes.index(other)).astype(np.int64)
    return Data(part.x, y, (one, other))


def _each(data: Data, n: int, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.int64]]:
    """`n` rows of each class."""
    order = rng.permutation(len(data))
    return np.concatenate([order[data.y[order] == c][:n] for c in range(data.k)])


def _cancer() -> Data:
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return Data(x.astype(np.float32), y, ("malignant", "benign"))
