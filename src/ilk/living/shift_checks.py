"""What speaks for and against following an estimate of class shares, without a label.

Each reads probabilities `p [n, k]` of the images at hand, calibrated under shares `learnt [k]`.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from ilk.data import Labels
from ilk.living.label_shift import Vector, expectation_maximisation
from ilk.maths.gaussian import Matrix
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
    p: Probabilities,
    held: tuple[Probabilities, Labels],
    ratio: Vector,
    now: Vector,
    error: Vector,
) -> tuple[float, float]:
    """Change of the share of right answers by following: expected, and its standard deviation.

    What is expected comes from the labels of held-out rows (`held`: their probabilities and
    classes), class by class, weighed by the shares `now [k]`, and not from probabilities, which are
    what may be wrong. The deviation is that of the held-out rows (with one changed answer more,
    spread over the classes, for what so few cannot show), of the shares with their `error [k]`, and
    of the images: each changed answer is won or lost.

    Args:
        ratio: What probabilities are multiplied by, `[k]`.
    """
    p_held, y_held = held
    k = len(now)
    was, will = p_held.argmax(1), (p_held * ratio).argmax(1)
    won = (will == y_held).astype(np.float64) - (was == y_held)
    counts = np.bincount(y_held, minlength=k)
    mean = np.bincount(y_held, won, k) / np.maximum(counts, 1)
    square = np.bincount(y_held, (won - mean[y_held]) ** 2, k)
    doubt = (square + 1 / k) / (counts + 1) ** 2
    changed = float(np.mean(p.argmax(1) != (p * ratio).argmax(1)))
    variance = now**2 @ doubt + error**2 @ mean**2 + changed / len(p)
    return float(now @ mean), float(np.sqrt(variance))


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
