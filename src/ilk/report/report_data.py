"""Define `ReportData`, the plain values from which the report is rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.metrics import Interval, Probabilities, Scores

if TYPE_CHECKING:
    from PIL.Image import Image

    from ilk.core.duplicate_leaks import DuplicateLeaks
    from ilk.core.held_together import HeldTogether
    from ilk.core.leaderboard import CandidateResult
    from ilk.images import Images
    from ilk.images.duplicates.near_pairs import NearPair

SuspectedLabel = tuple[Path, str, str, float]
"""Image file, given label, suggested label, and score in [0, 1]."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportData:
    """Settings, results and examples of one fit, with `n` evaluated images and `k` classes.

    Attributes:
        command: Command that repeats the fit.
        task: Description of the task, as one sentence.
        version: Versions of ilk and its dependencies, as one line.
        date: Creation date, formatted for display.
        seed: Random seed.
        source: Source of the images as given by the user.
        classes: Class names, `k` of them.
        class_counts: Number of labelled images per class, `[k]`, for each split ("train", "test").
        n_unlabelled: Number of images without a label.
        results: Leaderboard, best first. A candidate that could not be evaluated has no scores.
        encoder: Name of the selected encoder.
        method: Selected method, as text.
        corrected_accuracy: Cross-validated accuracy of the selected candidate, corrected for
            selecting the best of several; None if it was not measured.
        folds_note: How the leaderboard was computed, as one sentence, or "".
        evaluated_on: Which images were evaluated, such as "the test split, scored once".
        y: True class of each evaluated image, `[n]`.
        probabilities: Predicted probabilities, `[n, k]`, rows sum to 1.
        prediction_sets: Whether each class is in the conformal set of an image, `[n, k]`.
        target_coverage: Requested coverage of the conformal sets, in (0, 1).
        is_unknown: Whether each image is flagged as out-of-distribution, `[n]`.
        paths: Files of the evaluated images, `[n]`.
        scores: Metrics on the evaluated images; None if there is no evaluated image.
        coverage: Proportion of conformal sets that contain the true class.
        false_alarm: Requested rate at which images of known classes are flagged as
            out-of-distribution, in (0, 1).
        label_errors: Training images whose label disagrees with confident predictions, most likely
            mislabelled first.
        ranked_labels: All evaluated training images, most likely mislabelled first.
        unknown_examples: Images flagged as out-of-distribution, each with its score.
        difference_maps: File, caption lines and picture of where the scores of a diffusion
            classifier differ between the true class and the runner-up.
        heat_maps: File, caption lines and picture of what supports the answers for a few evaluated
            images.
        credits: Whose pretrained weights the encoder has, their licence and training data.
        notes: Remarks for the reader, one sentence each.
        images: All input files and their status.
        groups: Group of each evaluated image, `[n]`, -1 for none; None if no two share one.
        group_notes: How many groups of images there are, one sentence each.
        held_together: The accuracy with clusters of images that depend on each other held together;
            None if there are none that matter.
        duplicate_leaks: Copies of one picture that were found, and the accuracy with and without
            leaks; None if they were not asked for.
        near_pairs: Nearly the same pictures among the used images, most serious first.
        label_note: How many labels are suspect, as one sentence, or "".
        samples: Numbers of images behind the parts of a fit out of core; None for a fit in memory.
        comparison: Title and rows of a further table, its head first; None without one.

    Raises:
        ValueError: An array does not have the expected shape, or a label is out of range.
    """

    command: str
    task: str
    version: str
    date: str
    seed: int
    source: str
    classes: tuple[str, ...]
    class_counts: Mapping[str, Sequence[int] | Labels]
    n_unlabelled: int
    results: Sequence[CandidateResult]
    encoder: str
    method: str
    corrected_accuracy: Interval | None
    folds_note: str
    evaluated_on: str
    y: Labels
    probabilities: Probabilities
    prediction_sets: NDArray[np.bool_]
    target_coverage: float
    is_unknown: NDArray[np.bool_]
    paths: Sequence[Path]
    scores: Scores | None
    coverage: Interval
    false_alarm: float
    label_errors: Sequence[SuspectedLabel] = ()
    ranked_labels: Sequence[SuspectedLabel] = ()
    unknown_examples: Sequence[tuple[Path, float]] = ()
    difference_maps: Sequence[tuple[Path, tuple[str, ...], Image]] = ()
    heat_maps: Sequence[tuple[Path, tuple[str, ...], Image]] = ()
    credits: Sequence[str] = ()
    notes: Sequence[str] = ()
    images: Images
    groups: Labels | None = None
    group_notes: Sequence[str] = ()
    held_together: HeldTogether | None = None
    duplicate_leaks: DuplicateLeaks | None = None
    near_pairs: Sequence[NearPair] = ()
    label_note: str = ""
    samples: Mapping[str, Any] | None = None
    comparison: tuple[str, Sequence[Sequence[str]]] | None = None

    def __post_init__(self) -> None:
        n, k = len(self.y), len(self.classes)
        shapes = {"y": (n,), "probabilities": (n, k), "prediction_sets": (n, k), "is_unknown": (n,)}
        for name, expected in shapes.items():
            if (shape := np.shape(getattr(self, name))) != expected:
                raise ValueError(f"{name} has shape {shape}; expected {expected} for {n} images")
        if len(self.paths) != n:
            raise ValueError(f"{len(self.paths)} paths for {n} evaluated images")
        for split, counts in self.class_counts.items():
            if len(counts) != k:
                raise ValueError(
                    f"class_counts[{split!r}] has {len(counts)} entries for {k} classes"
                )
        if n and not (np.min(self.y) >= 0 and np.max(self.y) < k):
            raise ValueError(
                f"y ranges from {np.min(self.y)} to {np.max(self.y)}; "
                f"{k} classes allow 0 to {k - 1}"
            )
