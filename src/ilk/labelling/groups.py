"""Suggested groups: images that may get one label with one key.

A group is either of a class that the model knows, with images that it is sure of, or new: found by
the mixture of known and new classes (`ilk.discovery.gaussian_mixture_discovery`), or by k-means
with the number of clusters of the largest mean silhouette while no class is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Features, Labels
from ilk.discovery.gaussian_mixture_discovery import GaussianMixtureDiscovery
from ilk.labelling.learner import Snapshot
from ilk.maths.kmeans import estimate_new_clusters, fit_kmeans

SURE = 0.9  # probability from which an image is suggested for a known class
MAX_ROWS = 3_000  # rows that are grouped at a time
MIN_SIZE, MAX_SIZE = 2, 60  # images per group
MIN_KNOWN = 2  # labels per class for the mixture of known and new classes


@dataclass(frozen=True, eq=False)
class RowGroup:
    """A group of rows that look alike.

    Attributes:
        rows: Their positions, the most typical first.
        known_class: The class that the model is sure of; None for a new group.
        probability: Mean probability of that class; nan for a new group.
    """

    rows: Labels
    known_class: int | None
    probability: float


def group_rows(
    x: Features, y: Labels, can_group: NDArray[np.bool_], snapshot: Snapshot | None, seed: int = 0
) -> list[RowGroup]:
    """Return groups of unlabelled rows, those of known classes first, each by size.

    Args:
        x: Unit rows, `[n, d]`.
        y: Class of each row, `[n]`, -1 where unknown.
        can_group: Rows that may be in a group, `[n]`.
        snapshot: The current model; None without one.
        seed: Seed of the clusterings.
    """
    free = np.flatnonzero(can_group & (y < 0))
    known = [] if snapshot is None else _group_known(free, snapshot)
    taken = np.concatenate([g.rows for g in known]) if known else np.zeros(0, np.int64)
    rest = np.setdiff1d(free, taken)
    if snapshot is not None:  # beyond the size of a group, what is sure comes with the next ones
        rest = rest[snapshot.probabilities[rest].max(1) < SURE]
    if len(rest) > MAX_ROWS:
        rest = np.sort(np.random.default_rng(seed).choice(rest, MAX_ROWS, replace=False))
    return [*known, *_group_new(x, y, rest, seed)]


def _group_known(free: Labels, snapshot: Snapshot) -> list[RowGroup]:
    probabilities = snapshot.probabilities[free]
    best, sureness = probabilities.argmax(1), probabilities.max(1)
    groups = []
    for c in range(len(snapshot.classes)):
        own = np.flatnonzero((best == c) & (sureness >= SURE))
        own = own[np.argsort(-sureness[own], kind="stable")[:MAX_SIZE]]
        if len(own) >= MIN_SIZE:
            groups.append(RowGroup(free[own], c, float(sureness[own].mean())))
    return sorted(groups, key=lambda g: -len(g.rows))


def _group_new(x: Features, y: Labels, rest: Labels, seed: int) -> list[RowGroup]:
    if len(rest) < MIN_SIZE:
        return []
    groups = []
    assignment = _assign(x, y, rest, seed)
    for number in range(1, int(assignment.max(initial=0)) + 1):
        own = rest[assignment == number]
        if len(own) >= MIN_SIZE:
            distance = np.sum((x[own] - x[own].mean(0)) ** 2, axis=1)
            own = own[np.argsort(distance, kind="stable")[:MAX_SIZE]]
            groups.append(RowGroup(own, None, float("nan")))
    return sorted(groups, key=lambda g: -len(g.rows))


def _assign(x: Features, y: Labels, rest: Labels, seed: int) -> Labels:
    """Return the new group of each of the rows `rest`, from 1; 0 for rows of a known class."""
    labelled = np.flatnonzero(y >= 0)
    names, counts = np.unique(y[labelled], return_counts=True)
    names = names[counts >= MIN_KNOWN]
    if len(names) < 2:
        n_groups = estimate_new_clusters(x[rest], np.full(len(rest), -1), seed=seed)
        fitted = fit_kmeans(x[rest], np.full(len(rest), -1), n_groups, seed=seed)
        return np.asarray(fitted.assignment + 1, np.int64)
    labelled = labelled[np.isin(y[labelled], names)]
    rows = np.concatenate([labelled, rest])
    targets = np.concatenate([np.searchsorted(names, y[labelled]), np.full(len(rest), -1)])
    data = Data(x[rows], targets, tuple(map(str, names)))
    model = GaussianMixtureDiscovery(seed=seed).fit(data)
    column = model.logits(x[rest]).argmax(1).astype(np.int64)
    return np.asarray(np.maximum(column - len(names) + 1, 0), np.int64)
