"""Define `MultiLabelReport`, the plain values behind the report of a multi-label fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ilk.core.metrics import Interval
from ilk.maths.iterative_stratification import Targets
from ilk.multilabel.leaderboard import LabelCandidate
from ilk.multilabel.metrics import MultiLabelScores

if TYPE_CHECKING:
    from ilk.images import Images


@dataclass(frozen=True, eq=False, kw_only=True)
class MultiLabelReport:
    """Settings, results and examples of one fit, with `n` evaluated images and `k` labels.

    Attributes:
        command: Command that repeats the fit.
        version: Versions of ilk and its dependencies, as one line.
        date: Creation date, formatted for display.
        seed: Random seed.
        source: Source of the images as given by the user.
        classes: The labels, `k` of them.
        label_counts: Number of images per label, `[k]`, for each split ("train", "test").
        n_images: Number of labelled images in each split.
        n_unlabelled: Number of images whose labels are unknown.
        results: Leaderboard, best first.
        encoder: Name of the selected encoder.
        method: Selected method, as text.
        corrected: Mean average precision of the selected candidate in cross-validation, corrected
            for selecting the best of several.
        n_folds: Number of folds.
        evaluated_on: Which images were evaluated, such as "the test split, scored once".
        targets: Whether each label applies, `[n, k]`.
        probabilities: Probability that it does, `[n, k]`.
        predicted: Whether it is predicted, `[n, k]`.
        thresholds: Probability from which each label is predicted, `[k]`.
        is_unknown: Whether each image is flagged as out-of-distribution, `[n]`.
        paths: Files of the evaluated images, `[n]`.
        scores: Metrics on the evaluated images.
        false_alarm: Requested rate of flagged images, in (0, 1).
        unknown_examples: Images flagged as out-of-distribution, each with its score.
        notes: Remarks for the reader, one sentence each.
        images: All input files and their status.
    """

    command: str
    version: str
    date: str
    seed: int
    source: str
    classes: tuple[str, ...]
    label_counts: Mapping[str, Sequence[int]]
    n_images: Mapping[str, int]
    n_unlabelled: int
    results: Sequence[LabelCandidate]
    encoder: str
    method: str
    corrected: Interval
    n_folds: int
    evaluated_on: str
    targets: Targets
    probabilities: NDArray[np.float64]
    predicted: Targets
    thresholds: NDArray[np.float64]
    is_unknown: NDArray[np.bool_]
    paths: Sequence[Path]
    scores: MultiLabelScores
    false_alarm: float
    unknown_examples: Sequence[tuple[Path, float]] = ()
    notes: Sequence[str] = ()
    images: Images
