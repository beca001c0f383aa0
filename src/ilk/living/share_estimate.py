"""Shares of classes among images without labels, with all that tells how far to trust them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from ilk.data import Labels
from ilk.living.label_shift import (
    Vector,
    by_answers,
    expectation_maximisation,
    granted,
    standard_error,
)
from ilk.living.shift_checks import benefit, gain, mean_answers, unexplained
from ilk.metrics import Probabilities

REACH = 1.96  # standard errors to the end of a 95 % interval
AT_WORST = 0.01  # of the answers, what following may cost


@dataclass(frozen=True, eq=False)
class Estimate:
    """Shares of classes among `n` images without labels.

    Attributes:
        learnt: Shares that the classifier's probabilities take for granted, `[k]`.
        now: Estimated shares, `[k]`, above 0.
        standard_error: Of each, `[k]`, from the images at hand and the held-out rows that `learnt`
            comes from; not from probabilities that are wrong.
        to_follow: Shares that are safe to follow, `[k]`: of each 95 % interval the point nearest to
            what was learnt, scaled to sum to 1. A share moves only as far as is certain.
        by_answers: Shares by the confusion of hard answers, `[k]`, as a control.
        gain: How much likelier an image is under shares estimated on others: mean, in nats, and
            its standard error.
        benefit: Change of the share of right answers among these images that following is worth:
            what held-out rows let expect, and its standard deviation.
        unexplained: Share of the answers (half the absolute differences) that no shares of the
            classes as they were learnt explain, and how much of it chance makes.
        n: Number of images.
    """

    learnt: Vector
    now: Vector
    standard_error: Vector
    to_follow: Vector
    by_answers: Vector
    gain: tuple[float, float]
    benefit: tuple[float, float]
    unexplained: tuple[float, float]
    n: int

    @property
    def changed(self) -> bool:
        """Whether images are likelier under shares estimated on others, beyond chance.

        And a share is further from what was learnt than its error, over all classes, explains: that
        has the error of what was learnt in it, which many images do not make smaller.
        """
        reach = norm.isf(0.025 / len(self.now)) * self.standard_error
        apart = bool(np.any(np.abs(self.now - self.learnt) > reach))
        return apart and self.gain[0] > 2 * self.gain[1]

    @property
    def safe(self) -> bool:
        """Whether following costs no more than a point of accuracy, with two deviations to go."""
        return self.benefit[0] - 2 * self.benefit[1] >= -AT_WORST

    @property
    def interval(self) -> tuple[Vector, Vector]:
        """Ends of the 95 % interval of each share, `[k]` each."""
        reach = REACH * self.standard_error
        return np.maximum(self.now - reach, 0.0), np.minimum(self.now + reach, 1.0)

    def to_json(self) -> dict[str, Any]:
        """All figures."""
        told = asdict(self)
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in told.items()}


def estimate(
    p: Probabilities, p_held: Probabilities, y_held: Labels, counts: Labels, seed: int = 0
) -> Estimate:
    """Shares among images of calibrated probabilities `p [n, k]`.

    Args:
        p_held: Probabilities of labelled rows that the model had not learnt from, `[m, k]`.
        y_held: Their classes, `[m]`.
        counts: Rows of each class that were learnt from, `[k]`.
        seed: Of the folds, and of the draws that tell what chance does.
    """
    rng = np.random.default_rng(seed)
    learnt = granted(p_held, y_held, counts)
    now = expectation_maximisation(p, learnt)
    error = standard_error(p, p_held, learnt, now)
    near = np.clip(learnt, now - REACH * error, now + REACH * error)
    ratio = near / near.sum() / learnt
    by_class = mean_answers(p_held, y_held, len(counts))
    return Estimate(
        learnt,
        now,
        error,
        ratio * learnt,
        by_answers(p, p_held, y_held, learnt),
        gain(p, learnt, rng),
        benefit(p, (p_held, y_held), ratio, now, error),
        unexplained(p, p_held, y_held, by_class, rng),
        len(p),
    )
