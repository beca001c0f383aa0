"""Estimate the accuracy of the best of many candidates, and find the others that may be the best.

Ioannis Tsamardinos, Elissavet Greasidou, Giorgos Borboudakis, 2018, Bootstrapping the Out-of-sample
Predictions for Efficient and Accurate Cross-Validation, arXiv 1708.07180, algorithm 3 (BBC-CV):
rows are drawn with replacement, the best candidate is selected on the drawn rows, and scored on
the other rows. The mean over draws is the corrected accuracy.

Departure: the interval. Theirs are the percentiles of the draws, each of which is scored on 37 % of
the rows only, so that it is up to 1.6 times too wide. Here the lower end is that of Wilson's
interval around the corrected accuracy, and the upper end that around the winner's own, both for as
many rows as the winner's accuracy rests on (`ilk.maths.clusters`): the correction lowers what luck
may have raised, but the models of the folds and the choices on draws are made from fewer rows than
the final one, so that it is too low where one candidate is really better. It holds both accuracies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import log

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.metrics import Interval, Probabilities, wilson_interval
from ilk.core.ordered_classes import compute_absolute_errors
from ilk.maths.clusters import compute_mean_p_value, count_effective_rows, iterate_draws
from ilk.maths.multiple_comparisons import select_possible_best

CRITERIA = ("accuracy", "macro_accuracy", "log_loss", "mean_absolute_error")
COST_CRITERIA = ("log_loss", "mean_absolute_error")  # lower is better
N_BOOTSTRAP = 1000
MAX_COUNTS = 2**22  # counts of drawn rows at a time

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Correctness and loss of one candidate on each tested row.

    Attributes:
        is_correct: Whether the most probable class is the label, `[n]`; the fraction of repeats in
            which it is, where folds are repeated.
        loss: `-log p[label]` in nats, `[n]`; probabilities are clipped at 1e-15.
        absolute_error: Absolute error of the median class, `[n]`; None without ordered classes.
    """

    is_correct: NDArray[np.bool_] | Vector
    loss: Vector
    absolute_error: Vector | None = None

    @property
    def cost(self) -> Vector:
        """The absolute error where there is one, else the loss, `[n]`."""
        return self.loss if self.absolute_error is None else self.absolute_error


def compute_outcomes(
    y: Labels, probabilities: Probabilities, values: Vector | None = None
) -> Outcomes:
    """Return the outcomes of probabilities `[n, k]` for labels `[n]`.

    Args:
        y: Class indices, `[n]`.
        probabilities: `[n, k]`.
        values: Values of ordered classes, `[k]`; None without.
    """
    own = probabilities[np.arange(len(y)), y]
    error = None if values is None else compute_absolute_errors(y, probabilities, values)
    return Outcomes(probabilities.argmax(1) == y, -np.log(np.clip(own, 1e-15, 1.0)), error)


def estimate_corrected_accuracy(
    y: Labels,
    candidates: Sequence[Outcomes],
    criterion: str = "accuracy",
    seed: int = 0,
    groups: Labels | None = None,
    spread: float = 0.0,
) -> Interval:
    """Estimate the accuracy of the best candidate, corrected for the selection by BBC-CV.

    Args:
        y: Class indices, `[n]`.
        candidates: Outcomes of each candidate on the same rows.
        criterion: One of `CRITERIA`.
        seed: Seed of the bootstrap.
        groups: Group of each row, `[n]`, which are drawn as a whole; None makes every row one.
        spread: Standard deviation of the winner's accuracy over sets of folds.

    Returns:
        Mean over 1,000 bootstrap draws, and its 95 % interval.
    """
    n = len(y)
    is_correct = np.stack([c.is_correct for c in candidates]).astype(np.float32)
    is_ordered = criterion == "mean_absolute_error"
    loss = np.stack([c.cost if is_ordered else c.loss for c in candidates]).astype(np.float32)
    everything = np.ones((1, n), np.float32)
    own = is_correct[_select_best(y, is_correct, loss, everything, criterion)[0]].astype(np.float64)
    corrected = float(own.mean())
    if len(candidates) > 1:
        values = _score_undrawn(y, is_correct, loss, criterion, seed, groups)
        if not len(values):  # a single group
            return Interval(corrected, 0.0, 1.0)
        corrected = float(values.mean())
    n_effective = count_effective_rows(own, groups, spread)
    around = wilson_interval(corrected * n_effective, n_effective)
    around_own = wilson_interval(float(own.mean()) * n_effective, n_effective)
    return replace(around, value=corrected, high=max(around.high, around_own.high))


def _score_undrawn(
    y: Labels,
    is_correct: NDArray[np.float32],
    loss: NDArray[np.float32],
    criterion: str,
    seed: int,
    groups: Labels | None,
) -> Vector:
    """Return the accuracy of the best on drawn rows, on the other rows, of each draw with any."""
    draws = iterate_draws(len(y), N_BOOTSTRAP, np.random.default_rng(seed), groups)
    accuracies: list[NDArray[np.float32]] = []
    while chunk := list(islice(draws, max(1, MAX_COUNTS // len(y)))):
        draw_counts = np.stack(chunk).astype(np.float32)
        best = _select_best(y, is_correct, loss, draw_counts, criterion)
        is_undrawn = (draw_counts == 0).astype(np.float32)
        n_undrawn = is_undrawn.sum(1)
        n_correct = (is_undrawn @ is_correct.T)[np.arange(len(best)), best]
        accuracies.append(n_correct[n_undrawn > 0] / n_undrawn[n_undrawn > 0])
    return np.concatenate(accuracies).astype(np.float64)


def _select_best(
    y: Labels,
    is_correct: NDArray[np.float32],
    loss: NDArray[np.float32],
    draw_counts: NDArray[np.float32],
    criterion: str,
) -> NDArray[np.int64]:
    """Return the best candidate on each sample, `[b]`, with row `i` `draw_counts[:, i]` times."""
    mean_loss = draw_counts @ loss.T / draw_counts.sum(1, keepdims=True)
    weight = draw_counts
    if criterion == "macro_accuracy":
        order = np.argsort(y, kind="stable")
        _, first, index = np.unique(y[order], return_index=True, return_inverse=True)
        of_class = np.add.reduceat(draw_counts[:, order], first, axis=1)
        weight = np.empty_like(draw_counts)
        weight[:, order] = draw_counts[:, order] / of_class.clip(1)[:, index]
    cost = mean_loss if criterion in COST_CRITERIA else -(weight @ is_correct.T)
    return np.asarray(np.lexsort((mean_loss, np.round(cost, 4)), axis=1)[:, 0])


def find_tied(
    y: Labels,
    candidates: Sequence[Outcomes],
    criterion: str = "accuracy",
    groups: Labels | None = None,
    seed: int = 0,
) -> NDArray[np.bool_]:
    """Return which candidates may be the best at the 95 % level, `[c]`.

    Args:
        y: Class indices, `[n]`.
        candidates: Outcomes of each candidate on the same rows.
        criterion: accuracy, macro_accuracy, log_loss or mean_absolute_error.
        groups: Group of each row, `[n]`, which vary together; None makes every row one.
        seed: Seed of the signs.
    """
    values = np.stack([compute_row_values(y, c, criterion) for c in candidates], axis=1)
    return select_possible_best(values, groups, seed)


def compute_p_value(
    y: Labels,
    a: Outcomes,
    b: Outcomes,
    criterion: str = "accuracy",
    groups: Labels | None = None,
) -> float:
    """Return the two-sided p-value of no difference, in [0, 1]; `y` and `groups` are `[n]`.

    Accuracy is compared by McNemar's mid-p test (Fagerland, Lydersen, Laake 2013,
    doi:10.1186/1471-2288-13-91) on the rows where exactly one of the two is correct; other criteria
    are compared by a z-test of the mean difference per row, and so is accuracy over repeated folds.
    Where `groups [n]` of rows vary together, all are compared by a t-test over the groups. The two
    candidates are chosen beforehand; see `find_tied` for the best of many.
    """
    is_plain = criterion == "accuracy" and groups is None
    if is_plain and a.is_correct.dtype == bool == b.is_correct.dtype:
        only_a, only_b = a.is_correct > b.is_correct, b.is_correct > a.is_correct
        return mcnemar_p_value(int(np.sum(only_a)), int(np.sum(only_b)))
    return compute_mean_p_value(compute_row_gains(y, a, b, criterion), groups)


def compute_row_gains(y: Labels, a: Outcomes, b: Outcomes, criterion: str = "accuracy") -> Vector:
    """Return by how much `a` is better than `b` on each row, `[n]`; their mean is the gain.

    Args:
        y: Class indices, `[n]`.
        a: Outcomes of one candidate.
        b: Outcomes of the other, on the same rows.
        criterion: accuracy, macro_accuracy, log_loss or mean_absolute_error.
    """
    return compute_row_values(y, a, criterion) - compute_row_values(y, b, criterion)


def compute_row_values(y: Labels, outcomes: Outcomes, criterion: str = "accuracy") -> Vector:
    """Return the value of each row, `[n]`, whose mean is the criterion, negated where a cost.

    Args:
        y: Class indices, `[n]`.
        outcomes: Outcomes of one candidate.
        criterion: accuracy, macro_accuracy, log_loss or mean_absolute_error.
    """
    if criterion in COST_CRITERIA:
        return -(outcomes.loss if criterion == "log_loss" else outcomes.cost)
    values = outcomes.is_correct.astype(np.float64)
    if criterion == "macro_accuracy":
        counts = np.bincount(y)
        values *= len(y) / (np.sum(counts > 0) * counts[y])
    return values


def mcnemar_p_value(only_a: int, only_b: int) -> float:
    """Return McNemar's mid-p value.

    Args:
        only_a: Number of rows on which only the first candidate is correct.
        only_b: Number of rows on which only the second candidate is correct.
    """
    n, larger = only_a + only_b, max(only_a, only_b)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    i = np.arange(larger, n + 1)  # a fair coin shows i heads in n throws with probability p
    p = np.exp(log_factorial[n] - log_factorial[i] - log_factorial[n - i] - n * log(2))
    return min(1.0, 2 * float(p.sum()) - float(p[0]))
