"""`Evidence`: all that the report tells, gathered by whoever fitted the classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ilk.data import Labels
from ilk.metrics import Interval, Probabilities, Scores

if TYPE_CHECKING:
    from PIL.Image import Image

    from ilk.evaluate import Result
    from ilk.images import Images

Suspect = tuple[Path, str, str, float]
"""An image, the label it was given, the label it looks like, and how strongly, in [0, 1]."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """What was asked, what was tried, what was chosen, and how it did on `n` judged images.

    Attributes:
        command: The exact command that repeats the work.
        asked: One sentence: what was wanted.
        version: Versions of ilk and of what it stands on, as one line.
        date: When it was made, as it shall be read.
        seed: The seed of every random choice.
        source: Where the images came from, as it was typed.
        classes: The k class names that `y` points into.
        counts: For each part ("train", "test"): its labelled images of each class, `[k]`.
        unlabelled: Images without a label.
        results: The leaderboard, best first; a row without scores could not be run.
        encoder: The winner's encoder.
        method: The winner's method.
        honest: The winner's cross-validated accuracy after paying for having been chosen.
        folds_note: How the leaderboard was made, as one sentence ("" if there is none).
        judged_on: "the test part, scored once" or "the training part, out of fold".
        y: True class of each judged image, `[n]`.
        probabilities: What the winner gave each class, `[n, k]`, rows sum to 1.
        sets: Whether a class is in an image's conformal set, `[n, k]`.
        set_level: The share of sets asked to hold the true class, in (0, 1).
        unknown: Whether an image was called unknown, `[n]`.
        paths: The files of the judged images, `[n]`.
        scores: Of the judged images; None where none could be judged.
        coverage: The share of judged sets that hold the true class.
        false_alarm: The share of known kinds that may be called unknown, as asked, in [0, 1].
        suspects: Training images whose label looks wrong, likeliest first.
        ranked: Every tested training image, the one whose label looks most wrong first.
        unknowns: Examples of images called unknown, each with its unknown score.
        maps: For a class, a file, what is said of it, and the picture of where a diffusion model's
            denoising speaks for the class and where for its runner-up.
        notes: What else a reader must know, one sentence each.
        images: The intake: one row per file.

    Raises:
        ValueError: Where a shape does not fit, naming both.
    """

    command: str
    asked: str
    version: str
    date: str
    seed: int
    source: str
    classes: tuple[str, ...]
    counts: Mapping[str, Sequence[int] | Labels]
    unlabelled: int
    results: Sequence[Result]
    encoder: str
    method: str
    honest: Interval | None
    folds_note: str
    judged_on: str
    y: Labels
    probabilities: Probabilities
    sets: NDArray[np.bool_]
    set_level: float
    unknown: NDArray[np.bool_]
    paths: Sequence[Path]
    scores: Scores | None
    coverage: Interval
    false_alarm: float
    suspects: Sequence[Suspect] = ()
    ranked: Sequence[Suspect] = ()
    unknowns: Sequence[tuple[Path, float]] = ()
    maps: Sequence[tuple[Path, tuple[str, ...], Image]] = ()
    notes: Sequence[str] = ()
    images: Images

    def __post_init__(self) -> None:
        n, k = len(self.y), len(self.classes)
        shapes = {"y": (n,), "probabilities": (n, k), "sets": (n, k), "unknown": (n,)}
        for name, wanted in shapes.items():
            if (got := np.shape(getattr(self, name))) != wanted:
                raise ValueError(f"{name} has shape {got}; {n} judged images need {wanted}")
        if len(self.paths) != n:
            raise ValueError(f"{len(self.paths)} paths for {n} judged images")
        for part, counts in self.counts.items():
            if len(counts) != k:
                raise ValueError(f"counts of {part} has {len(counts)} entries for {k} classes")
        if n and not (np.min(self.y) >= 0 and np.max(self.y) < k):
            raise ValueError(
                f"judged labels run from {np.min(self.y)} to {np.max(self.y)}; "
                f"{k} classes allow 0 to {k - 1}"
            )
