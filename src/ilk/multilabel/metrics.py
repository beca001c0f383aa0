"""Metrics of images with several labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.metrics import Interval
from ilk.maths.clusters import compute_interval
from ilk.maths.iterative_stratification import Targets
from ilk.multilabel.average_precision import Counts, average_precision, estimate_interval

N_BINS = 15


@dataclass(frozen=True)
class LabelScore:
    """Metrics of one label.

    Attributes:
        name: The label.
        support: Number of images that it applies to.
        average_precision: In [0, 1]; nan without such images. Random order reaches their
            proportion.
        precision: Of the predictions of the label; nan if it was never predicted.
        recall: Of the images that it applies to; nan without any.
        f1: Harmonic mean of both; nan where the label neither applies nor was predicted.
    """

    name: str
    support: int
    average_precision: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class MultiLabelScores:
    """Metrics of predicted labels of n images.

    Attributes:
        n: Number of images.
        mean_average_precision: Mean over the labels with images, with its bootstrap interval.
        macro_f1: Mean F1 over the labels with images.
        micro_f1: F1 over all pairs of image and label.
        exact_match: Proportion of images whose set of labels is predicted exactly.
        log_loss: Mean of `-log p` of what is true, in nats, over pairs of image and label.
        calibration_error: Expected calibration error over pairs of image and label.
        labels: Metrics of each label.
    """

    n: int
    mean_average_precision: Interval
    macro_f1: float
    micro_f1: float
    exact_match: Interval
    log_loss: float
    calibration_error: float
    labels: tuple[LabelScore, ...]


def score_labels(
    names: tuple[str, ...],
    targets: Targets,
    probabilities: NDArray[np.float64],
    predicted: Targets,
    counts: Counts,
    groups: Labels | None = None,
) -> MultiLabelScores:
    """Return all metrics; pairs whose probability is nan are left out, exact matches excepted.

    Args:
        names: The labels, `k` of them.
        targets: Whether each label applies, `[n, k]`.
        probabilities: Probability that it does, `[n, k]`.
        predicted: Whether it is predicted, `[n, k]`.
        counts: Bootstrap draws of the rows, `[draws, n]`.
        groups: Group of each row, `[n]`; None makes every row one.

    Raises:
        ValueError: There is no row.
    """
    if not len(targets):
        raise ValueError("there is no labelled row to score")
    labels = tuple(
        _score_label(name, targets[rows, c], probabilities[rows, c], predicted[rows, c])
        for c, name in enumerate(names)
        for rows in [np.isfinite(probabilities[:, c])]
    )
    is_known = np.isfinite(probabilities)
    y, p, guess = targets[is_known], probabilities[is_known], predicted[is_known]
    own = np.where(y, p, 1 - p)
    is_match = (predicted == targets).all(1)
    f1 = [label.f1 for label in labels if label.support]
    return MultiLabelScores(
        len(targets),
        estimate_interval(targets, probabilities, counts),
        float(np.mean(f1)) if f1 else float("nan"),
        _compute_f1(y, guess),
        compute_interval(is_match, groups),
        float(-np.mean(np.log(np.clip(own, 1e-15, 1)))),
        compute_calibration_error(y, p),
        labels,
    )


def _score_label(
    name: str, y: NDArray[np.bool_], p: NDArray[np.float64], predicted: NDArray[np.bool_]
) -> LabelScore:
    hits, support, n_predicted = int((y & predicted).sum()), int(y.sum()), int(predicted.sum())
    return LabelScore(
        name,
        support,
        float(average_precision(y, p)[0]),
        hits / n_predicted if n_predicted else float("nan"),
        hits / support if support else float("nan"),
        _compute_f1(y, predicted),
    )


def _compute_f1(y: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    total = int(y.sum() + predicted.sum())
    return 2 * int((y & predicted).sum()) / total if total else float("nan")


def compute_bins(
    y: NDArray[np.bool_], p: NDArray[np.float64], bins: int = N_BINS
) -> list[tuple[float, float, int]]:
    """Return mean probability, frequency and number of pairs in each non-empty bin.

    Args:
        y: Whether the label applies, `[m]`.
        p: Probability that it does, `[m]`.
        bins: Number of bins of equal width over [0, 1].
    """
    index = np.minimum((p * bins).astype(int), bins - 1)
    return [
        (float(p[index == b].mean()), float(y[index == b].mean()), int(np.sum(index == b)))
        for b in np.unique(index)
    ]


def compute_calibration_error(y: NDArray[np.bool_], p: NDArray[np.float64]) -> float:
    """Return the mean distance of probability and frequency in bins; arguments are `[m]`."""
    return sum(n * abs(mean - rate) for mean, rate, n in compute_bins(y, p)) / max(1, len(y))
