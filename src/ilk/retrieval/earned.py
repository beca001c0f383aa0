"""A projection is kept only if it beats cosine on classes that it did not learn from.

The labelled images are cut into folds by class: all images of a class are in one fold. A projection
is fitted to the other folds and scored on its own, where every image is a query among the others:
mAP@R, the average precision at R, the number of other images of the class (Kevin Musgrave, Serge
Belongie, Ser-Nam Lim, 2020, A Metric Learning Reality Check, arXiv 2003.08505). The difference from
cosine is paired by image, and its interval is that of whole classes drawn again (bootstrap), at
95 % over all projections together (Bonferroni). One that is above 0 is kept; of several, the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ilk.core.data import Features, Labels
from ilk.core.errors import InputError
from ilk.maths.nearest_rows import to_unit
from ilk.maths.retrieval import bootstrap_classes, mean_known, score_retrieval
from ilk.retrieval.collection import Collection
from ilk.retrieval.projections import list_projections, parse_projection
from ilk.retrieval.vectors.contract import name_setting
from ilk.retrieval.vectors.projection import Projection

AUTO, NONE = "auto", "none"
N_FOLDS = 5
MIN_CLASSES = 6  # two or more are held out at a time, and an interval needs some
MIN_PER_CLASS = 4
MAX_ROWS = 4_000  # labelled images that the trial reads, balanced over classes
LEVEL = 0.95


@dataclass(frozen=True)
class Trial:
    """What a projection reached on classes held out.

    Attributes:
        name: The projection, or cosine.
        map_at_r: Mean average precision at R, in [0, 1].
        recall_at_1: Share of images whose nearest other image is of their class, in [0, 1].
        difference: mAP@R less that of cosine.
        low: Lower end of the interval of the difference.
        high: Its upper end.
    """

    name: str
    map_at_r: float
    recall_at_1: float
    difference: float = 0.0
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True, eq=False)
class Choice:
    """The projection that is kept, and why.

    Attributes:
        projection: Fitted to all labelled images; None for cosine.
        name: Its name, or cosine.
        sentence: Why it is kept; "" if nothing was tried and nothing is to be said.
        trials: Scores on classes held out, cosine first; empty if nothing was tried.
    """

    projection: Projection | None = None
    name: str = "cosine"
    sentence: str = ""
    trials: tuple[Trial, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        trials = [asdict(trial) for trial in self.trials]
        return {"name": self.name, "sentence": self.sentence, "trials": trials}


def choose_projection(collection: Collection, name: str = AUTO, seed: int = 0) -> Choice:
    """Return the projection of a collection.

    Args:
        collection: Images with features, of which some have one label.
        name: auto, none, or the text of a projection, which is then used without a trial.
        seed: Seed of the folds.

    Raises:
        InputError: The named projection needs labels, and fewer than two classes have any.
        UnknownName: There is no such projection.
    """
    if name.casefold() == NONE:
        return Choice()
    wanted = None if name.casefold() == AUTO else parse_projection(name)
    y, names = collection.number_classes()
    rows = _choose_rows(y, seed)
    if wanted is not None:
        if not wanted.needs_labels:
            rows = np.sort(np.random.default_rng(seed).permutation(len(y))[:MAX_ROWS])
        elif len(names) < 2:
            raise InputError(
                f"{name_setting(wanted)} learns from labels and there are {len(names)} classes; "
                "search a folder with a sub-folder per class, or without --projection"
            )
        x = to_unit(collection.take(rows))
        sentence = f"{name_setting(wanted)} was requested, without a comparison"
        return Choice(wanted.fit(x, y[rows]), name_setting(wanted), sentence)
    reason = _find_obstacle(collection, y, rows)
    if reason:
        return Choice(sentence=reason)
    return choose_on_rows(to_unit(collection.take(rows)), y[rows], seed)


def choose_on_rows(x: Features, y: Labels, seed: int = 0) -> Choice:
    """Return the projection that earns it on unit rows `[n, d]` of classes `[n]`, or cosine."""
    candidates = [kind() for kind in list_projections().values()]
    trials = try_projections(x, y, candidates, seed)
    cosine, *others = trials
    best = max(others, key=lambda trial: trial.map_at_r)
    earned = [trial for trial in others if trial.low > 0]
    if not earned:
        sentence = (
            f"cosine kept: {best.name} {best.map_at_r:.3f}, cosine {cosine.map_at_r:.3f} (mAP@R "
            f"on classes held out; difference {best.difference:+.3f} "
            f"[{best.low:+.3f}, {best.high:+.3f}])"
        )
        return Choice(sentence=sentence, trials=tuple(trials))
    won = max(earned, key=lambda trial: trial.map_at_r)
    projection = next(c for c in candidates if name_setting(c) == won.name).fit(x, y)
    sentence = (
        f"{won.name} kept: {won.map_at_r:.3f}, cosine {cosine.map_at_r:.3f} (mAP@R on classes held "
        f"out; difference {won.difference:+.3f} [{won.low:+.3f}, {won.high:+.3f}])"
    )
    return Choice(projection, won.name, sentence, tuple(trials))


def try_projections(
    x: Features, y: Labels, candidates: Sequence[Any], seed: int = 0
) -> list[Trial]:
    """Return the score of cosine and of each projection on classes held out.

    Args:
        x: Unit rows, `[n, d]`.
        y: Their classes, `[n]`, each with at least two rows.
        candidates: Projections.
        seed: Seed of the folds.
    """
    classes = np.random.default_rng(seed).permutation(np.unique(y))
    n_folds = max(2, min(N_FOLDS, len(classes) // 2))
    ap = np.full((1 + len(candidates), len(y)), np.nan)
    first = np.full_like(ap, np.nan)
    for held in np.array_split(classes, n_folds):
        test = np.flatnonzero(np.isin(y, held))
        train = np.flatnonzero(~np.isin(y, held))
        for i, candidate in enumerate((None, *candidates)):
            rows = x[test]
            if candidate is not None:
                rows = candidate.fit(x[train], y[train]).apply(rows)
            scores = score_retrieval(rows, y[test])
            ap[i, test], first[i, test] = scores.ap_at_r, scores.recall[0]
    trials = [Trial("cosine", mean_known(ap[0]), mean_known(first[0]))]
    level = 1 - (1 - LEVEL) / max(1, len(candidates))
    for i, candidate in enumerate(candidates, 1):
        mean, low, high = bootstrap_classes(ap[i] - ap[0], y, seed=seed, level=level)
        name = name_setting(candidate)
        trials.append(Trial(name, mean_known(ap[i]), mean_known(first[i]), mean, low, high))
    return trials


def _choose_rows(y: Labels, seed: int) -> Labels:
    """Return at most `MAX_ROWS` positions of labelled rows, balanced over classes, ascending."""
    rng = np.random.default_rng(seed)
    labelled = rng.permutation(np.flatnonzero(y >= 0))
    if len(labelled) <= MAX_ROWS:
        return np.sort(labelled)
    order = np.argsort(y[labelled], kind="stable")
    starts = np.searchsorted(y[labelled][order], y[labelled][order])
    turn = np.empty(len(labelled), np.int64)
    turn[order] = np.arange(len(labelled)) - starts  # the how-manieth of its class
    return np.sort(labelled[np.argsort(turn, kind="stable")[:MAX_ROWS]])


def _find_obstacle(collection: Collection, y: Labels, rows: Labels) -> str:
    """Return why nothing is tried, None-like "" if something can be."""
    if collection.reads_text:
        return "cosine kept: the encoder reads text, which a projection of images would not fit"
    counts = np.bincount(y[rows]) if len(rows) else np.zeros(0, np.int64)
    n_usable = int((counts >= MIN_PER_CLASS).sum())
    if n_usable < MIN_CLASSES:
        return (
            f"cosine kept: {n_usable} classes have {MIN_PER_CLASS} images or more, and a "
            f"projection is tried on classes held out of at least {MIN_CLASSES}"
        )
    return ""
