"""Class-incremental learning: the loop over steps, exemplars, and memory in bytes.

An incremental method has `update(model, data) -> Model` beside `fit`. `data.classes` is always the
full list of classes and the rows are the new ones. Everything remembered is in the model, and its
memory is the size of its arrays (Zhou et al., 2024, arXiv 2302.03648, compare methods at equal
memory).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import Method, Model, labelled_features
from ilk.core.data import Data, Features, Labels
from ilk.core.errors import InputError
from ilk.core.exemplar_mlp import ExemplarMLP
from ilk.core.linear_models import MLP, normalize_rows
from ilk.maths.herding import herd
from ilk.protocols.step import Step


@dataclass(frozen=True, eq=False)
class StepResult:
    """Scores of a method after one step.

    Attributes:
        n_classes: Number of classes tested so far.
        accuracy: Accuracy on all test rows so far, in [0, 1].
        old_accuracy: Accuracy on the classes of earlier steps; nan at the first step.
        new_accuracy: Accuracy on the classes of this step.
        memory_bytes: Bytes remembered from one step to the next.
        model: The model.
    """

    n_classes: int
    accuracy: float
    old_accuracy: float
    new_accuracy: float
    memory_bytes: int
    model: Model


def run_steps(method: Method, steps: Iterable[Step], *, joint: bool = False) -> list[StepResult]:
    """Fit the first step, update the model with each later one, and score each model.

    Args:
        method: The method.
        steps: Training and test rows of each step.
        joint: Fit each step from scratch on all rows so far, which then count as memory. This is
            the upper bound of incremental learning.

    Raises:
        InputError: The method has no `update`, or a step has no test rows.
    """
    if not (joint or hasattr(method, "update")):
        raise InputError(
            f"{type(method).__name__} has no update and cannot continue from a model; "
            "use a method that has one, or joint=True to keep all rows"
        )
    results: list[StepResult] = []
    rows: Data | None = None
    for step in steps:
        if not len(step.test):
            raise InputError(f"step {len(results) + 1} has no test rows; give some")
        rows = rows.concat(step.train) if step.warm_start and rows is not None else step.train
        if joint:
            model, extra_bytes = method.fit(rows), rows.x.nbytes + rows.y.nbytes
        elif step.warm_start and results:
            model, extra_bytes = method.update(results[-1].model, step.train), 0  # type: ignore[attr-defined]
        else:
            model, extra_bytes = method.fit(step.train), 0
        results.append(_evaluate_step(model, step, count_bytes(model) + extra_bytes))
    return results


def _evaluate_step(model: Model, step: Step, memory_bytes: int) -> StepResult:
    y = step.test.y
    is_correct = model.logits(step.test.x).argmax(1) == y
    is_new = np.isin(y, step.train.y) | (not step.warm_start)
    old, new = (
        float(is_correct[selected].mean()) if selected.any() else np.nan
        for selected in (~is_new, is_new)
    )
    return StepResult(len(np.unique(y)), float(is_correct.mean()), old, new, memory_bytes, model)


def count_bytes(model: Any) -> int:
    """Return the number of bytes of a model's arrays."""
    arrays = (getattr(model, f.name) for f in fields(model))
    return sum(a.nbytes for a in arrays if isinstance(a, np.ndarray))


def select_update_rows(n_classes: int, data: Data, method: object) -> Data | None:
    """Return the labelled rows of an update, or None if there are none.

    Args:
        n_classes: Number of classes of the model.
        data: Data of the update.
        method: Method that is updated; messages name it.

    Raises:
        ValueError: `data` has another number of classes.
    """
    if data.k != n_classes:
        raise ValueError(f"the model knows {n_classes} classes, the data {data.k}")
    return labelled_features(data, method) if (data.y >= 0).any() else None


def herd_exemplars(u: NDArray[Any], n_exemplars: int) -> Labels:
    """Return rows of `u [m, d]` whose mean is near the mean of all, at most `n_exemplars`.

    They are chosen greedily (`ilk.maths.herding`).
    """
    return herd(u, min(n_exemplars, len(u)))


def update_exemplars(
    head: MLP, rows: Data, budget: int, previous: ExemplarMLP | None = None
) -> tuple[Features, Labels]:
    """Return exemplars `[m, d]` and their classes `[m]`, equally many of each class seen.

    A class without rows in `rows` keeps its first exemplars. The exemplars of other classes are
    herded, in normalized hidden units, from their rows and their previous exemplars.

    Args:
        head: The head that was just trained.
        rows: Labelled features of the update.
        budget: Number of exemplars over all classes.
        previous: The model before the update.
    """
    class_ids = np.flatnonzero(np.isfinite(head.bias))
    per_class, parts = budget // max(1, len(class_ids)), list[Features]()
    for c in class_ids:
        old_exemplars = (
            rows.x[:0] if previous is None else previous.exemplars[previous.exemplar_labels == c]
        )
        new_rows = rows.x[rows.y == c]
        if len(new_rows) and per_class:
            candidates = np.concatenate([old_exemplars, new_rows])
            parts.append(
                candidates[
                    herd_exemplars(normalize_rows(head.compute_hidden(candidates)), per_class)
                ]
            )
        else:
            parts.append(old_exemplars[:per_class])
    labels = np.repeat(class_ids, [len(part) for part in parts]).astype(np.int64)
    return np.concatenate(parts).astype(np.float32), labels


def attach_exemplars(head: MLP, exemplars: Features, labels: Labels) -> ExemplarMLP:
    """Return `head` with `exemplars [m, d]` of the classes `labels [m]`."""
    parts = {f.name: getattr(head, f.name) for f in fields(MLP)}
    return ExemplarMLP(**parts, exemplars=exemplars, exemplar_labels=labels)


def append_exemplars(data: Data, previous: ExemplarMLP) -> Data:
    """Return the rows of `data` followed by the exemplars of `previous`."""
    exemplars = Data(previous.exemplars, previous.exemplar_labels, data.classes)
    return Data(data.x, data.y, data.classes, weight=data.weight).concat(exemplars)
