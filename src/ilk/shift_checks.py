"""What speaks for and against following an estimate of class shares, without a label.

Each reads probabilities `p [n, k]` of the images at hand, calibrated under shares `learnt [k]`.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from ilk.data import Labels
from ilk.gaussian import Matrix
from ilk.label_shift import Vector, expectation_maximisation
from ilk.metrics import Probabilities

FOLDS = 5
TRIES = 20  # draws that tell what chance does
HEAVY = 1e3  # weight of "shares sum to 1" in a least-squares fit


def gain(p: Probabilities, learnt: Vector, rng: np.random.Generator) -> tuple[float, float]:
    """Mean log of how much likelier rows are by shares estimated on others, and its error."""
    n = len(p)
    if n < 2 * FOLDS:
        return 0.0, 0.0
    fold, each = rng.permutation(n) % FOLDS, np.zeros(n)
    for f in range(FOLDS):
        here = fold == f
        each[here] = np.log(p[here] @ (expectation_maximisation(p[~here], learnt) / learnt))
    return float(each.mean()), float(each.std(ddof=1) / np.sqrt(n))


def benefit(
    p: Probabilities, learnt: Vector, now: Vector, error: Vector, rng: np.random.Generator
) -> tuple[float, float]:
    """What answers under `now` are worth beside those as learnt, if the probabilities are true.

    A changed answer that has probability b, where the old one has a, wins 1 with b and loses 1 with
    a. The shares that these are said under are drawn from around `now`, as far as it is not known.
    """
    then, after = p.argmax(1), (p * (now / learnt)).argmax(1)
    changed = p[then != after]
    then, after, rows = then[then != after], after[then != after], np.arange(len(changed))
    means, within = [], []
    for _ in range(TRIES):
        q = changed * (np.maximum(now + error * rng.standard_normal(len(now)), 1e-6) / learnt)
        q /= q.sum(1, keepdims=True)
        win, lose = q[rows, after], q[rows, then]
        means.append(np.sum(win - lose) / len(p))
        within.append(np.sum(win + lose - (win - lose) ** 2) / len(p) ** 2)
    return float(np.mean(means)), float(np.sqrt(np.mean(within) + np.var(means)))


def mean_answers(p_held: Probabilities, y_held: Labels, k: int) -> Matrix:
    """Mean probabilities of held-out rows of each class, `[k, k]`; certain where there is none."""
    counts = np.bincount(y_held, minlength=k)
    sums = np.zeros((k, k))
    np.add.at(sums, y_held, p_held)
    return np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], np.eye(k))


def unexplained(
    p: Probabilities,
    p_held: Probabilities,
    y_held: Labels,
    by_class: Matrix,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """What is left of the mean answer by the shares that fit best, and what is by chance."""
    found, shares = _left(p.mean(0), by_class)
    if not len(y_held):
        return found, found
    weight = (shares / np.maximum(np.bincount(y_held, minlength=len(shares)), 1))[y_held]
    if weight.sum() <= 0:
        return found, found
    chance = []
    for _ in range(TRIES):
        rows = rng.choice(len(y_held), len(p), p=weight / weight.sum())
        again = rng.integers(len(y_held), size=len(y_held))
        there = mean_answers(p_held[again], y_held[again], len(shares))
        chance.append(_left(p_held[rows].mean(0), there)[0])
    return found, float(np.mean(chance))


def _left(answer: Vector, by_class: Matrix) -> tuple[float, Vector]:
    """Half the absolute difference of an answer from the best mix of classes, and the mix."""
    sides = np.vstack([by_class.T, np.full(len(answer), HEAVY)])
    mix = nnls(sides, np.append(answer, HEAVY))[0]
    mix /= mix.sum()
    return float(np.abs(answer - mix @ by_class).sum() / 2), mix
