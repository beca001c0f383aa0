"""Flag images that belong to no class of a saved classifier, by the score that suits its classes.

The score is chosen on known classes that are hidden in turn (`ilk.updates.hidden_classes`), among
the rows that the classifier stores. Its threshold is a conformal quantile of out-of-fold scores of
these rows, as that of the classifier's own distance. Some scores let images pass that are far from
every class, such as inverted ones, and hidden classes do not show it. A fifth of the false alarms
is therefore spent on the distance, where there are enough rows for it: together they have at most
the rate of the classifier.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ilk.artifacts.classifier import Classifier
from ilk.core.data import Features, Labels
from ilk.core.errors import InputError
from ilk.core.statistics import Statistics
from ilk.maths.conformal_quantile import Vector, compute_votes, find_conformal_quantile
from ilk.maths.folds import assign_folds, count_folds, has_shared_groups, number_groups
from ilk.maths.gaussian import compute_statistics, subtract_statistics
from ilk.trust.known_rows import KnownRows, UnknownScore
from ilk.trust.unknown_scores import list_unknown_scores
from ilk.updates.hidden_classes import ScoreChoice, choose_unknown_score

FAR_FRACTION = 0.2  # of the false alarms, for the distance beside another score
N_FOLDS = 20  # with few, scores of rows held out are greater than those of new rows
WIDE, N_WIDE_FOLDS = 2048, 5  # features, of which a fold costs seconds


@dataclass(frozen=True, eq=False)
class UnknownImages:
    """Which images are flagged, and by what.

    Attributes:
        is_unknown: Whether each image is flagged, `[n]`.
        score: Scores of the images, `[n]`, by the chosen score.
        choice: The chosen score.
        held_out: Out-of-fold scores of known images, `[m]`, one per group of dependent images
            (their mean); empty where nothing is ever flagged.
    """

    is_unknown: NDArray[np.bool_]
    score: Vector
    choice: ScoreChoice
    held_out: Vector = field(default_factory=lambda: np.zeros(0))


def flag_unknown(
    classifier: Classifier, x: Features, score: UnknownScore | None = None
) -> UnknownImages:
    """Flag the images that belong to no known class.

    The classifier's own flag is returned where no class can be hidden, where its distance separates
    hidden classes as well as any score, and where it has too few rows to flag anything.

    Args:
        classifier: The saved classifier.
        x: Features of its encoder, `[n, d]`.
        score: The score; None chooses it.
    """
    detector, summary = classifier.ood_detector, classifier.summary_statistics
    distance = detector.score(x)
    own = distance > detector.threshold
    if summary is None or not summary.width or not len(summary.y) or detector.note:
        return UnknownImages(own, distance, ScoreChoice(list_unknown_scores()[0]))
    known = read_known_rows(classifier)
    groups = summary.groups if has_shared_groups(summary.groups) else None
    n = len(summary.y)
    choice = ScoreChoice(score) if score else choose_unknown_score(known.x[:n], summary.y, groups)
    if choice.score.is_default:
        return UnknownImages(own, distance, choice, _average(summary.unknown_score, groups))
    votes = compute_votes(groups, n)
    rate = detector.false_alarm
    limit = find_conformal_quantile(summary.unknown_score, 1 - FAR_FRACTION * rate, votes)
    is_far = np.zeros(len(x), bool) if limit is None else distance > limit
    rate = rate if limit is None else (1 - FAR_FRACTION) * rate
    held_out = cross_validate_unknown_score(choice.score, known, n, groups)
    threshold = find_conformal_quantile(held_out, 1 - rate, votes)
    scores = choice.score.fit(known)(detector.select_columns(x))
    is_unknown = np.zeros(len(x), bool) if threshold is None else scores > threshold
    return UnknownImages(is_unknown | is_far, scores, choice, _average(held_out, groups))


def read_known_rows(classifier: Classifier) -> KnownRows:
    """Return the statistics and rows that a classifier stores, in the columns of its detector.

    The stored rows come first; then, for classes without one, their mean, which is the image of a
    class of one image.

    Raises:
        InputError: If it stores no features.
    """
    summary = classifier.summary_statistics
    if summary is None or not summary.width:
        raise InputError("this model stores no features of its training images; fit it again")
    numbers = np.arange(summary.width, dtype=np.float32)[None]
    columns = classifier.ood_detector.select_columns(numbers)[0].astype(np.int64)
    stats = _select_columns(summary.statistics, columns)
    others = np.setdiff1d(np.flatnonzero(stats.present), summary.y)
    x = np.concatenate([summary.x[:, columns], stats.means[others].astype(np.float32)])
    return KnownRows(stats, x, np.append(summary.y, others))


def cross_validate_unknown_score(
    score: UnknownScore, known: KnownRows, n: int, groups: Labels | None = None
) -> Vector:
    """Return the out-of-fold scores of the first rows of `known`, `[n]`.

    Args:
        score: The score.
        known: Statistics of all rows, and some of them; these are subtracted from the statistics.
        n: Number of rows to hold out; the others are known in every fold.
        groups: Group of each row, `[n]`, -1 for a group of its own; None makes every row one.
    """
    k, y = len(known.statistics.counts), known.y[:n]
    max_folds = N_FOLDS if known.x.shape[1] <= WIDE else N_WIDE_FOLDS
    n_folds = max(2, count_folds(y, max_folds, groups))
    fold = np.full(len(known.y), -1)
    fold[:n] = assign_folds(y, n_folds, groups=groups)
    scores = np.empty(n)
    for f in np.unique(fold[:n]):
        rows = fold == f
        rest = subtract_statistics(
            known.statistics, compute_statistics(known.x[rows], known.y[rows], k)
        )
        others = KnownRows(rest, known.x[~rows], known.y[~rows], known.n_features)
        scores[rows[:n]] = score.fit(others)(known.x[rows])
    return scores


def _average(scores: Vector, groups: Labels | None) -> Vector:
    """Return the mean score of each group, for scores `[n]`; the scores where there are none."""
    if groups is None:
        return scores
    group = number_groups(groups)
    return np.asarray(np.bincount(group, scores) / np.bincount(group))


def _select_columns(stats: Statistics, columns: NDArray[np.int64]) -> Statistics:
    """Return the statistics of some of the features."""
    if len(columns) == len(stats.scatter):
        return stats
    scatter = stats.scatter[np.ix_(columns, columns)]
    return Statistics(stats.counts, stats.means[:, columns], scatter)
