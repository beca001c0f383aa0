"""The audit: a random sample of the images, and how accurate the model is on it.

Images that a model chooses are not a random sample: it asks what it is unsure of, so its accuracy
on them is too low, and after it has learned from them, too high. So a part of the questions walks
through the images in a random order that is fixed from the start (`ilk.labelling.items`). The audit
slice is the part of that order that is answered without a gap, whoever asked for its images, which
makes it a simple random sample of all images without a given label.

A label of the slice is too valuable to lie idle: the model learns from it. It is judged on it by
cross-fitting, where the model that answers for an image has learned from no label of its fold
(Seymour Geisser, 1975, doi:10.1080/01621459.1975.10479865). What is measured is therefore a model
of slightly fewer labels, which errs on the side of caution. The interval is the exact one: with the
ten or twenty images that a slice has at first, the coverage of shorter intervals falls well below
their level where most answers are right. Benchmark `labelling` counts how often it holds the
accuracy on images beyond the folder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.metrics import Interval, calibration_error, log_loss

EVERY = 5  # one question in so many is of the audit
MIN_SLICE, MAX_SLICE, SHARE = 40, 400, 0.2  # of the images without a given label

Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class AuditResult:
    """How good the current model is on images that it has not learned from.

    Attributes:
        n: Number of audited images.
        n_unanswered: Images of the slice without a class: unsure, skipped, gone or disputed. The
            accuracy is that of images whose class can be told.
        accuracy: Fraction of right answers, with its 95 % interval.
        confidence: Mean probability that the model gave its answers; that of a calibrated model is
            its accuracy.
        calibration_error: Expected calibration error, in [0, 1].
        log_loss: Mean of -log of the probability of the true class, in nats.
    """

    n: int
    n_unanswered: int
    accuracy: Interval
    confidence: float
    calibration_error: float
    log_loss: float


def count_reserved(n: int) -> int:
    """Return how many of `n` images are kept for the audit, and out of suggested groups."""
    return min(n, max(MIN_SLICE, min(MAX_SLICE, math.ceil(SHARE * n))), max(1, n // 2))


def find_slice(order: Sequence[int], is_answered: NDArray[np.bool_]) -> list[int]:
    """Return the audited rows: the beginning of `order` up to the first row without an answer.

    Args:
        order: All rows of the audit in random order.
        is_answered: Whether a row has an answer of any kind, or can have none, `[n]`.
    """
    answered = is_answered[np.asarray(order, np.int64)]
    gaps = np.flatnonzero(~answered)
    return list(order[: int(gaps[0])] if len(gaps) else order)


def judge(y: Labels, probabilities: Probabilities, n_unanswered: int = 0) -> AuditResult | None:
    """Return how good probabilities `[n, k]` are for the labels `[n]`; None for no rows."""
    if not len(y):
        return None
    is_right = probabilities.argmax(1) == y
    return AuditResult(
        len(y),
        n_unanswered,
        compute_exact_interval(int(is_right.sum()), len(y)),
        float(probabilities.max(1).mean()),
        calibration_error(y, probabilities),
        log_loss(y, probabilities),
    )


def compute_exact_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """Return the exact interval of a proportion, which covers it at least as often as `level`.

    C. J. Clopper, E. S. Pearson, 1934, doi:10.1093/biomet/26.4.404.

    Args:
        successes: Number of successes, 0 to n.
        n: Number of trials, >= 1.
        level: Confidence level, in (0, 1).
    """
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    failures = n - successes
    low = float(betaincinv(successes, failures + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, failures, 1 - tail)) if failures else 1.0
    return Interval(successes / n, low, high, level)
