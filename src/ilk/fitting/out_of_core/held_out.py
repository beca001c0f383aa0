"""Score held-out images block by block: all of them count, and a sample is kept for the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ilk.artifacts.classifier import Classifier
from ilk.artifacts.evaluation import Evaluation
from ilk.artifacts.prediction import ScoredBatch
from ilk.core.data import Features, Labels
from ilk.core.metrics import Interval, Scores, score_predictions
from ilk.core.ordered_classes import compute_absolute_errors
from ilk.core.progress import Progress, silent_progress
from ilk.fitting.out_of_core.streamed_rows import FeatureSource, rank_positions, score_streamed
from ilk.images import Row, number_row_groups
from ilk.maths.clusters import compute_interval
from ilk.maths.folds import has_shared_groups
from ilk.maths.sampling import sample_by_class

MAX_ROWS = 200_000  # images whose probabilities are kept for the tables of the report
Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What the metrics read of each of `n` scored images.

    Attributes:
        y: Class, `[n]`.
        prediction: Most probable class, `[n]`.
        own: Probability of the label, `[n]`.
        confidence: Probability of the most probable class, `[n]`.
        is_covered: Whether the prediction set has the label, `[n]`.
        set_size: Number of classes in the set, `[n]`.
        is_unknown: Whether it is flagged, `[n]`.
        error: Absolute error of the median class, `[n]`; 0 without ordered classes.
    """

    y: Labels
    prediction: Labels
    own: Vector
    confidence: Vector
    is_covered: NDArray[np.bool_]
    set_size: Labels
    is_unknown: NDArray[np.bool_]
    error: Vector

    @classmethod
    def make_empty(cls, y: Labels) -> Outcomes:
        """Return outcomes of rows of classes `y [n]` to be filled in."""
        n = len(y)
        flags = [np.zeros(n, bool) for _ in range(2)]
        numbers = [np.zeros(n, np.int64) for _ in range(2)]
        values = [np.zeros(n) for _ in range(3)]
        return cls(y, numbers[0], values[0], values[1], flags[0], numbers[1], flags[1], values[2])

    def set(self, rows: Labels, scored: ScoredBatch, values: Vector | None) -> None:
        """Fill in the rows at `rows [b]`; `values [k]` are those of ordered classes."""
        p, y, each = scored.probabilities, self.y[rows], np.arange(len(rows))
        self.prediction[rows], self.own[rows] = p.argmax(1), p[each, y]
        self.confidence[rows] = p.max(1)
        self.is_covered[rows] = scored.prediction_sets[each, y]
        self.set_size[rows] = scored.prediction_sets.sum(1)
        self.is_unknown[rows] = scored.is_unknown
        if values is not None:
            self.error[rows] = compute_absolute_errors(y, p, values)


@dataclass(frozen=True, eq=False)
class StreamedEvaluation(Evaluation):
    """An evaluation of all held-out images whose rows and probabilities are those of a sample.

    Attributes:
        outcomes: Outcomes of all of them.
        all_groups: Group of each, `[n]`; None if no two share one.
    """

    outcomes: Outcomes | None = None
    all_groups: Labels | None = None

    @property
    def _all(self) -> Outcomes:
        assert self.outcomes is not None
        return self.outcomes

    @property
    def scores(self) -> Scores:
        """Metrics of all held-out images."""
        o = self._all
        scores = score_predictions(o.y, o.prediction, o.own, o.confidence)
        if self.class_values is not None:
            scores = replace(scores, mean_absolute_error=float(o.error.mean()))
        if self.all_groups is None:
            return scores
        return replace(scores, accuracy=compute_interval(o.prediction == o.y, self.all_groups))

    @property
    def coverage(self) -> Interval:
        """Proportion of all conformal sets that contain the true class."""
        return compute_interval(self._all.is_covered, self.all_groups)

    @property
    def mean_set_size(self) -> float:
        """Mean number of classes in a conformal set."""
        return float(self._all.set_size.mean())

    @property
    def unknown_rate(self) -> Interval:
        """Proportion of all held-out images that are flagged."""
        return compute_interval(self._all.is_unknown, self.all_groups)


def evaluate_streamed(
    classifier: Classifier,
    rows: Sequence[Row],
    y: Labels,
    source: FeatureSource,
    positions: Labels,
    memory: int,
    seed: int = 0,
    progress: Progress = silent_progress,
) -> StreamedEvaluation:
    """Return the evaluation of held-out images, read block by block.

    Args:
        classifier: Classifier to evaluate.
        rows: The images, `n` of them.
        y: Their classes, `[n]`.
        source: Their features.
        positions: Position of each in the source, `[n]`.
        memory: Bytes that probabilities may take.
        seed: Seed of the sample.
        progress: Reports the number of images.
    """
    k = len(classifier.classes)
    kept = sample_by_class(y, min(MAX_ROWS, max(1000, memory // (9 * k))), seed)
    place = rank_positions(kept, len(y))
    sample = ScoredBatch(
        np.zeros((len(kept), k)),
        np.zeros((len(kept), k), bool),
        np.zeros(len(kept), bool),
        np.zeros(len(kept)),
    )
    outcomes = Outcomes.make_empty(y)

    def score(at: Labels, x: Features) -> None:
        scored = classifier.score_batch(x)
        outcomes.set(at, scored, classifier.class_values)
        own = place[at]
        inside = own >= 0
        for name in ("probabilities", "prediction_sets", "is_unknown", "unknown_score"):
            getattr(sample, name)[own[inside]] = getattr(scored, name)[inside]

    score_streamed(source, positions, score, progress, "scoring held-out images")
    groups = number_row_groups(rows)
    return StreamedEvaluation(
        tuple(rows[i] for i in kept),
        y[kept],
        sample,
        classifier.conformal.level,
        classifier.class_values,
        outcomes=outcomes,
        all_groups=groups if has_shared_groups(groups) else None,
    )
