"""Label a pool whose classes are known, as a person would who is always right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ilk.core.data import Data, Features, Labels
from ilk.labelling.learner import (
    UNIT_FEATURES,
    choose_width,
    fit_model,
    fit_snapshot,
    reduce_features,
    to_unit_rows,
)
from ilk.labelling.learning import AHEAD
from ilk.labelling.orders.order import OrderTags, Pool

STEP = 5  # labels between two refits
BUDGETS = (5, 10, 20, 50, 100)
Curve = dict[int, float]


@dataclass(frozen=True, eq=False)
class Trial:
    """A pool to label and a test part, reduced by what the pool alone says.

    Attributes:
        x: Reduced features of the pool and then of the test part, `[n + m, d]`.
        y: Their classes, `[n + m]`.
        n: Size of the pool.
        classes: Class names.
    """

    x: Features
    y: Labels
    n: int
    classes: tuple[str, ...]

    @classmethod
    def draw(cls, data: Data, n: int, seed: int) -> Trial:
        """Return a random pool of `n` rows, with the others as the test part."""
        order = np.random.default_rng(seed).permutation(len(data))
        x = data.x[order]
        return cls(reduce_features(x, fit_rows=n), data.y[order], n, data.classes)

    def measure_accuracy(self, labelled: Labels) -> float:
        """Return the accuracy on the test part of the model of these rows of the pool."""
        y = self.y[labelled]
        test = self.y[self.n :]
        if len(np.unique(y)) < 2:
            return float(np.mean(test == y[0]))
        x = self.x[:, : choose_width(len(labelled))]
        model = fit_model(x, self.y, self.classes, labelled)
        return float(np.mean(model.logits(x[self.n :]).argmax(1) == test))


def label_in_order(
    trial: Trial,
    order: OrderTags,
    seed: int,
    budgets: Sequence[int] = BUDGETS,
    *,
    audit: Callable[[int], bool] = lambda _question: False,
) -> Curve:
    """Return the accuracy on the test part after each number of labels.

    Args:
        trial: What is labelled.
        order: The order of questions.
        seed: Seed of the order.
        budgets: Numbers of labels.
        audit: Whether a question, by its number from 0, is a random one of the audit.
    """
    n = trial.n
    units = to_unit_rows(trial.x[:n, :UNIT_FEATURES])
    y = np.full(n, -1)
    waiting = list(np.random.default_rng(seed + 1).permutation(n))
    chosen: list[int] = []
    accuracy: Curve = {}
    probabilities = None
    while len(chosen) < max(budgets):
        rows = iter(order.choose(Pool(units, y, y < 0, probabilities), AHEAD, seed + len(chosen)))
        for _ in range(STEP):
            if audit(len(chosen)):
                row = next(i for i in waiting if y[i] < 0)
            else:
                row = next(int(i) for i in rows if y[i] < 0)
            y[row] = trial.y[row]
            chosen.append(row)
        if len(chosen) in budgets:
            accuracy[len(chosen)] = trial.measure_accuracy(np.array(chosen))
        snapshot = fit_snapshot(trial.x[:n], y, trial.classes, np.zeros(0, np.int64))
        probabilities = None if snapshot is None else snapshot.probabilities
    return accuracy
