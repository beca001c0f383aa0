"""Labelled images, and what a classifier made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ilk.classifier import Classifier, Judgement
from ilk.data import Labels
from ilk.encode import fill
from ilk.errors import InputError
from ilk.images import Images, Row
from ilk.metrics import Interval, Scores, score, wilson
from ilk.progress import Progress, silent
from ilk.store import Store
from ilk.trust.conformal import Coverage


@dataclass(frozen=True, eq=False)
class Judged:
    """Rows with a known class, and their judgement.

    Attributes:
        rows: The images, `n` of them.
        y: Their classes, `[n]`.
        judgement: Probabilities, sets and unknowns of the same `n`.
        level: The coverage that the sets were made for.
    """

    rows: tuple[Row, ...]
    y: Labels
    judgement: Judgement
    level: float

    @property
    def scores(self) -> Scores:
        """Accuracy, macro accuracy, log loss and calibration error."""
        return score(self.y, self.judgement.probabilities)

    @property
    def coverage(self) -> Interval:
        """How often the set held the true class."""
        return Coverage.of(self.judgement.sets, self.y).covered

    @property
    def set_size(self) -> float:
        """Mean number of names in a set."""
        return Coverage.of(self.judgement.sets, self.y).size

    @property
    def unknown(self) -> Interval:
        """Share called unknown; of known kinds, so each is a false alarm."""
        flags = self.judgement.unknown
        return wilson(float(flags.sum()), len(flags))

    def to_json(self) -> dict[str, Any]:
        """All figures."""
        return {
            **asdict(self.scores),
            "coverage": {"asked": self.level, **asdict(self.coverage)},
            "set_size": self.set_size,
            "called_unknown": asdict(self.unknown),
        }


def judge(
    classifier: Classifier, images: Images, *, store: Store, progress: Progress = silent
) -> tuple[Judged, Images, list[str]]:
    """Score the labelled images of kinds that the classifier knows.

    Returns:
        What came of it, the intake with what could not be decoded, and notes on what was left out.

    Raises:
        InputError: No image has a label that the classifier knows.
    """
    images = images.refuse(fill(images, [classifier.encoder], store, progress=progress))
    labelled = [row for row in images.used if row.label is not None]
    known = tuple(row for row in labelled if row.label in classifier.classes)
    if not known:
        theirs, ours = (
            ", ".join(map(repr, names[:5])) for names in (images.classes, classifier.classes)
        )
        raise InputError(
            f"no image has a label that the model knows; it knows {ours}, and the labels here are: "
            f"{theirs or 'none'}"
        )
    notes = []
    if strange := len(labelled) - len(known):
        names = sorted({str(r.label) for r in labelled} - set(classifier.classes))
        notes.append(
            f"{strange} images of kinds that the model never saw are left out of the scores "
            f"({', '.join(names[:5])})"
        )
    return score_rows(classifier, known, store), images, notes


def score_rows(classifier: Classifier, rows: Sequence[Row], store: Store) -> Judged:
    """Judge encoded rows whose labels the classifier knows."""
    x = store.get(classifier.encoder.space, [row.digest for row in rows])
    y = np.array([classifier.classes.index(str(row.label)) for row in rows], np.int64)
    return Judged(tuple(rows), y, classifier.judge(x), classifier.sets.level)
