"""Classes that keep arriving: the loop, what a model keeps to go on, and what that costs in bytes.

A method that goes on has `update(model, data) -> Model` beside `fit`. `data.classes` is always the
whole list, the rows are of what is new, and all that may be remembered is in the model: its arrays
are what it is charged for (Zhou et al., 2024, arXiv 2302.03648, on comparing at equal memory).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Features, Labels
from ilk.errors import InputError
from ilk.models import Method, Model, Perceptron, learnable, unit_rows
from ilk.protocols.step import Step


@dataclass(frozen=True, eq=False)
class Remembering(Perceptron):
    """A head with some of the rows that it learnt from.

    Attributes:
        exemplars: The rows, `[m, d]` float32, class after class, the most telling of each first.
        owners: Their classes, `[m]` int64.
    """

    exemplars: Features
    owners: Labels


@dataclass(frozen=True, eq=False)
class Stage:
    """How a method stood after one step.

    Attributes:
        classes: Classes that had come, of those tested.
        accuracy: Share of right answers on all test rows so far.
        old: The same on classes of earlier steps; nan at the first.
        new: The same on the classes of this step.
        charged: Bytes that are kept to go on.
        model: The model itself.
    """

    classes: int
    accuracy: float
    old: float
    new: float
    charged: int
    model: Model


def learn(method: Method, steps: Iterable[Step], *, joint: bool = False) -> list[Stage]:
    """Learn step after step, each from the model before; a stage for each.

    With `joint` every step fits afresh on all rows so far, which are then charged too: what going
    on is measured against.

    Raises:
        InputError: The method cannot go on, or a step has no row to answer for.
    """
    if not (joint or hasattr(method, "update")):
        raise InputError(
            f"{type(method).__name__} has no update and cannot go on from a model; "
            "take a method that has, or joint=True to keep all rows"
        )
    stages: list[Stage] = []
    rows: Data | None = None
    for step in steps:
        if not len(step.test):
            raise InputError(f"step {len(stages) + 1} has no row to answer for; give test rows")
        rows = rows.concat(step.train) if step.carry and rows is not None else step.train
        if joint:
            model, extra = method.fit(rows), rows.x.nbytes + rows.y.nbytes
        elif step.carry and stages:
            model, extra = method.update(stages[-1].model, step.train), 0  # type: ignore[attr-defined]
        else:
            model, extra = method.fit(step.train), 0
        stages.append(_stage(model, step, charged(model) + extra))
    return stages


def _stage(model: Model, step: Step, cost: int) -> Stage:
    y = step.test.y
    right = model.logits(step.test.x).argmax(1) == y
    fresh = np.isin(y, step.train.y) | (not step.carry)
    old, new = (float(right[part].mean()) if part.any() else np.nan for part in (~fresh, fresh))
    return Stage(len(np.unique(y)), float(right.mean()), old, new, cost, model)


def charged(model: Any) -> int:
    """Bytes of a model's arrays: what must be kept to go on from it."""
    arrays = (getattr(model, f.name) for f in fields(model))
    return sum(a.nbytes for a in arrays if isinstance(a, np.ndarray))


def to_learn(known: int, data: Data, who: object) -> Data | None:
    """The labelled rows that a model of `known` classes goes on from; None where there is none.

    Raises:
        ValueError: `data` has another number of classes.
    """
    if data.k != known:
        raise ValueError(f"the model knows {known} classes, the data {data.k}")
    return learnable(data, who) if (data.y >= 0).any() else None


def herded(u: NDArray[Any], n: int) -> Labels:
    """Rows of `u [m, d]`, at most `n`, picked so that their mean stays nearest that of all.

    Greedy, the most telling first (Rebuffi et al., 2017, arXiv 1611.07725, algorithm 4).
    """
    wanted, total = u.mean(0), np.zeros(u.shape[1])
    left, picked = np.ones(len(u), bool), list[int]()
    for _ in range(min(n, len(u))):
        ahead = (total + u) / (len(picked) + 1)
        far = np.where(left, np.sum((ahead - wanted) ** 2, axis=1), np.inf)
        picked.append(int(far.argmin()))
        left[picked[-1]] = False
        total += u[picked[-1]]
    return np.array(picked, np.int64)


def remembering(
    head: Perceptron, rows: Data, total: int, before: Remembering | None = None
) -> tuple[Features, Labels]:
    """Exemplars `[m, d]` and their classes: `total` shared evenly by the classes `head` has seen.

    A class without a row in `rows` keeps the first of those it has; the others are herded in unit
    hidden units from their rows and what was kept of them.
    """
    seen = np.flatnonzero(np.isfinite(head.bias))
    share, parts = total // max(1, len(seen)), list[Features]()
    for c in seen:
        held = rows.x[:0] if before is None else before.exemplars[before.owners == c]
        fresh = rows.x[rows.y == c]
        if len(fresh) and share:
            pool = np.concatenate([held, fresh])
            parts.append(pool[herded(unit_rows(head.hidden(pool)), share)])
        else:
            parts.append(held[:share])
    owners = np.repeat(seen, [len(part) for part in parts]).astype(np.int64)
    return np.concatenate(parts).astype(np.float32), owners


def remembered(head: Perceptron, exemplars: Features, owners: Labels) -> Remembering:
    """`head` with what it remembers."""
    parts = {f.name: getattr(head, f.name) for f in fields(Perceptron)}
    return Remembering(**parts, exemplars=exemplars, owners=owners)


def recalled(data: Data, before: Remembering) -> Data:
    """Labelled rows of `data`, and the exemplars behind them."""
    kept = Data(before.exemplars, before.owners, data.classes)
    return Data(data.x, data.y, data.classes).concat(kept)
