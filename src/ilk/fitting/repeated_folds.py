"""Repeat the folds of a small sample until their assignment no longer matters.

With few images, the accuracy over one set of folds depends on which images happen to share a fold.
The folds are dealt again until the standard error of the mean over repeats is a small fraction of
the sampling error of the images. Repeats are not more images: the sampling error is that of a
proportion of the n images (Wilson 1927), or of their groups, where images of one group are right or
wrong together.

Cross-validation estimates the mean accuracy over training sets, and the model is fitted to one
(Stephen Bates, Trevor Hastie, Robert Tibshirani, 2021, Cross-validation: what does it estimate and
how well does it do it?, arXiv 2104.00673), so that an interval of the sampling error alone covers
the accuracy of the model too rarely. The spread of the accuracy over sets of folds shows how much
it depends on the training set, and is part of the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.metrics import Scores
from ilk.core.ordered_classes import Values, score_ordered
from ilk.fitting.selection_statistics import Outcomes, compute_outcomes
from ilk.maths.clusters import compute_interval

MAX_REPEATS = 12
MIN_REPEATS = 3  # the spread of two says nothing
NOISE_RATIO = 0.25  # of the standard error over repeats to the sampling error
FEW_IMAGES = 20  # per class, on average

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Run:
    """Out-of-fold predictions of a candidate for the `m` tested rows.

    Attributes:
        logits: `[m, k]`, float32 to save memory.
        probabilities: The same, calibrated on the other folds, `[m, k]` float32.
        fold: Fold that tests each of all `n` rows, `[n]`, -1 for none.
        seconds: Time spent on fitting and prediction.
        note: How the training parts were limited, or "".
    """

    logits: NDArray[np.floating]
    probabilities: NDArray[np.float32]
    fold: Labels
    seconds: float
    note: str = ""


@dataclass(frozen=True, eq=False)
class Repeats:
    """Scores of a candidate, averaged over repeated folds.

    Attributes:
        scores: Mean scores; the interval of the accuracy includes its spread over folds.
        outcomes: Mean outcomes of each row.
        noise_ratio: Standard error of the mean accuracy over repeats, divided by its sampling
            error; infinite below `MIN_REPEATS`.
    """

    scores: Scores
    outcomes: Outcomes
    noise_ratio: float


def average_scores(
    y: Labels,
    runs: Sequence[Run],
    groups: Labels | None = None,
    values: Values | None = None,
) -> Repeats:
    """Average the scores of runs over different folds.

    Args:
        y: Classes of the tested rows, `[m]`.
        runs: At least one run.
        groups: Group of each row, `[m]`, as in `Data.group`; None makes every row one.
        values: Values of ordered classes, `[k]`; None without.
    """
    probabilities = [run.probabilities.astype(np.float64) for run in runs]
    scores = [score_ordered(y, p, values) for p in probabilities]
    outcomes = [compute_outcomes(y, p, values) for p in probabilities]
    if len(runs) == 1 and groups is None:
        return Repeats(scores[0], outcomes[0], np.inf)
    is_correct = np.mean([o.is_correct for o in outcomes], axis=0)
    spread = measure_spread(y, runs)
    interval = compute_interval(is_correct, groups, spread)
    sampling_error = max(1e-12, np.sqrt(interval.value * (1 - interval.value) / len(y)))
    mean_scores = replace(
        scores[0],
        accuracy=interval,
        macro_accuracy=float(np.mean([s.macro_accuracy for s in scores])),
        log_loss=float(np.mean([s.log_loss for s in scores])),
        calibration_error=float(np.mean([s.calibration_error for s in scores])),
    )
    mean_outcomes = outcomes[0]
    if len(runs) > 1:
        mean_outcomes = Outcomes(is_correct, np.mean([o.loss for o in outcomes], axis=0))
    if values is not None:
        error = np.mean([o.cost for o in outcomes], axis=0)
        mean_outcomes = replace(mean_outcomes, absolute_error=error)
        mean_scores = replace(mean_scores, mean_absolute_error=float(error.mean()))
    ratio = spread / np.sqrt(len(runs)) / sampling_error if len(runs) >= MIN_REPEATS else np.inf
    return Repeats(mean_scores, mean_outcomes, float(ratio))


def measure_spread(y: Labels, runs: Sequence[Run]) -> float:
    """Return the standard deviation of the accuracy over sets of folds; 0 for a single one.

    Args:
        y: Classes of the tested rows, `[m]`.
        runs: At least one run.
    """
    return float(np.std(_compute_accuracies(y, runs), ddof=1)) if len(runs) > 1 else 0.0


def choose_run(y: Labels, runs: Sequence[Run]) -> Run:
    """Return the run whose accuracy is nearest to the mean accuracy over all runs.

    Args:
        y: Classes of the tested rows, `[m]`.
        runs: At least one run.
    """
    accuracies = _compute_accuracies(y, runs)
    return runs[int(np.argmin(np.abs(accuracies - accuracies.mean())))]


def _compute_accuracies(y: Labels, runs: Sequence[Run]) -> Vector:
    return np.array([np.mean(run.probabilities.argmax(1) == y) for run in runs])
