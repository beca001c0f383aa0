"""Choose a score of how unknown an image is by hiding classes that are known.

Which score separates images of new classes best depends on the features and on the number and size
of the classes, and no image of a new class is at hand. Known classes are: in turn, some of them are
hidden, a score is fitted to half of the rows of the others, and measured by how well it separates
the rows of hidden classes from those of the visible ones in the other half. Groups of rows that
depend on each other (a patient, a video) lie in one half, and each has one vote.

The score of a saved classifier is kept unless another is better by more than the standard error of
the difference over the trials.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features, Labels
from ilk.maths.conformal_quantile import compute_votes
from ilk.maths.folds import assign_folds, has_shared_groups
from ilk.maths.roc_area import compute_roc_area
from ilk.trust.known_rows import KnownRows, UnknownScore
from ilk.trust.unknown_scores import list_unknown_scores

MAX_CLASS_FOLDS = 5
MIN_CLASSES = 3  # with fewer, one class would stand for all that is known

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ScoreChoice:
    """The score that was chosen, and what it was chosen by.

    Attributes:
        score: The score.
        auroc: Mean AUROC of hidden classes by the label of each score; empty if no class could be
            hidden.
        n_trials: Number of trials behind them.
    """

    score: UnknownScore
    auroc: Mapping[str, float] = field(default_factory=dict)
    n_trials: int = 0

    @property
    def note(self) -> str:
        """The choice, as a sentence; "" if no class could be hidden."""
        if not self.auroc:
            return ""
        ranked = sorted(self.auroc.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{label} {value:.3f}" for label, value in ranked)
        return (
            f"unknown images are flagged by the score {self.score.label!r}; AUROC of known "
            f"classes that were hidden in turn, by score: {shown}"
        )


def choose_unknown_score(
    x: Features,
    y: Labels,
    groups: Labels | None = None,
    *,
    scores: Sequence[UnknownScore] | None = None,
    seed: int = 0,
) -> ScoreChoice:
    """Return the score that separates hidden classes best.

    Args:
        x: Features of rows of known classes, `[n, d]`.
        y: Their classes, `[n]`, all >= 0.
        groups: Group of each row, `[n]`, -1 for a group of its own; None makes every row one.
        scores: The candidates, the default first; None takes all of `ilk.trust.unknown_scores`.
        seed: Seed of the trials.
    """
    scores = list_unknown_scores() if scores is None else scores
    z, n_features = _reduce_width(x)
    trials = [
        _compare_scores(scores, z, y, compute_votes(groups, len(y)), rows, n_features)
        for rows in _iterate_trials(y, groups, seed)
    ]
    if not trials:
        return ScoreChoice(scores[0])
    auroc = np.array(trials)
    mean = auroc.mean(0)
    best = int(mean.argmax())
    gain = auroc[:, best] - auroc[:, 0]
    error = float(gain.std(ddof=1)) / len(gain) ** 0.5 if len(gain) > 1 else 0.0
    chosen = best if gain.mean() > error else 0
    labels = [score.label for score in scores]
    return ScoreChoice(scores[chosen], dict(zip(labels, mean.tolist(), strict=True)), len(trials))


def _reduce_width(x: Features) -> tuple[Features, int]:
    """Return rows in a basis of their span, and the width of the features.

    That keeps all their inner products, and with fewer rows than features it is far smaller.
    """
    if len(x) >= x.shape[1]:
        return x, x.shape[1]
    basis = np.linalg.qr(np.asarray(x, np.float64).T)[0]
    return np.asarray(x @ basis), x.shape[1]


def _iterate_trials(
    y: Labels, groups: Labels | None, seed: int
) -> Iterator[tuple[Labels, Labels, Labels]]:
    """Yield positions of rows to fit, of visible test rows and of hidden test rows."""
    classes = np.unique(y)
    if len(classes) < MIN_CLASSES:
        return
    order = np.random.default_rng(seed).permutation(classes)
    shared = groups if groups is not None and has_shared_groups(groups) else None
    half = assign_folds(y, 2, seed, shared)
    for hidden in np.array_split(order, min(MAX_CLASS_FOLDS, len(order))):
        is_hidden = np.isin(y, hidden)
        for part in (0, 1):
            fit = np.flatnonzero((half == part) & ~is_hidden)
            is_tested = half != part
            visible = np.flatnonzero(is_tested & ~is_hidden & np.isin(y, y[fit]))
            tested = np.flatnonzero(is_tested & is_hidden)
            if len(fit) > 1 and len(visible) and len(tested):
                yield fit, visible, tested


def _compare_scores(
    scores: Sequence[UnknownScore],
    x: Features,
    y: Labels,
    votes: Vector,
    trial: tuple[Labels, Labels, Labels],
    n_features: int,
) -> list[float]:
    """Return the AUROC of each score in one trial."""
    fit, visible, hidden = trial
    known = KnownRows.from_rows(x[fit], y[fit], int(y.max()) + 1, n_features)
    scorers = [score.fit(known) for score in scores]
    return [
        compute_roc_area(scorer(x[visible]), scorer(x[hidden]), votes[visible], votes[hidden])
        for scorer in scorers
    ]
