"""Measure how much of the accuracy rests on images that depend on each other, and correct for it.

The selected method is cross-validated once more with each cluster of such images in one fold. These
out-of-fold predictions replace the others, so that the calibration, the prediction sets, the
detection of unknown images and the accuracy of the report are those of images from new clusters.
That holds without a clear difference in accuracy, too: few clusters seldom show one, and sets that
are calibrated with their images on both sides of a fold may cover a tenth of what they promise.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ilk.core.data import UNGROUPED, UNLABELLED, Labels
from ilk.core.held_together import HeldTogether
from ilk.core.leaderboard import OutOfFold
from ilk.fitting.cross_validation import cross_validate
from ilk.fitting.dependence import Clusters, connect, find_clusters, to_pairs
from ilk.fitting.fit_state import FitState
from ilk.fitting.leaderboard_builder import FIT_ERRORS
from ilk.images import Row
from ilk.images.decoding.pages import is_page_group
from ilk.images.duplicates.near_pairs import find_near_pairs
from ilk.images.duplicates.perceptual_hash import Thumbnails, stack_thumbnails
from ilk.maths.clusters import compute_interval
from ilk.maths.folds import has_shared_groups, number_groups
from ilk.protocols import stratified_folds
from ilk.store import Store
from ilk.trust.calibration import cross_calibrate

MIN_DROP, MIN_Z = 0.02, 2.0  # of the accuracy, in standard deviations of its cluster means
MIN_TESTED = 0.9  # of the images that are tested where each is dealt on its own
COLUMN_OPTION = "--group-column NAME (a column that names the patient, scene or day)"


def hold_together(state: FitState, store: Store) -> FitState:
    """Return the state with near-duplicates, and clusters held together where that matters.

    Where groups of several images are given, nothing but the near-duplicates is looked for. The
    pages of a file are a group that nobody gave; they stay together.

    Args:
        state: Result of model selection.
        store: Features and thumbnails of the images.
    """
    state = replace(state, near_pairs=tuple(find_near_pairs(state.images.used, store)))
    y, rows = state.features.y, state.split.train
    n = len(rows)
    if state.leaderboard.out_of_fold is None or _are_given(state.features.group[:n], rows):
        return state
    clusters = find_clusters(rows, state.features.x[:n], y[:n], _load_thumbnails(rows, store))
    if not clusters.matter:
        return state
    group = np.full(len(y), UNGROUPED)
    group[:n] = clusters.group
    if (state.features.group >= 0).any():  # of the pages of files
        group = connect(len(y), [to_pairs(group), to_pairs(state.features.group)])
    tested = np.where(state.leaderboard.fold >= 0, y, UNLABELLED)
    fold = stratified_folds(tested, state.config.folds, state.config.seed, group)
    try:
        out_of_fold = cross_validate(state.method, replace(state.features, group=group), fold)
    except FIT_ERRORS:
        return state
    if out_of_fold.is_tested.sum() < MIN_TESTED * state.leaderboard.out_of_fold.is_tested.sum():
        return state  # too many classes lie in a single cluster
    found = compare(state.leaderboard.out_of_fold, out_of_fold, y, group, clusters)
    if found is None:
        return state
    state = replace(state, held_together=found)
    leaderboard = replace(
        state.leaderboard,
        corrected_accuracy=found.accuracy,
        fold=fold,
        out_of_fold=out_of_fold,
        probabilities=cross_calibrate(out_of_fold.logits, y, fold),
    )
    return replace(
        state,
        leaderboard=leaderboard,
        features=replace(state.features, group=group),
        audit_probabilities=state.leaderboard.probabilities,
    )


def _are_given(group: Labels, rows: Sequence[Row]) -> bool:
    """Whether rows share a group of `[n]` that is more than the pages of a file."""
    return has_shared_groups(np.where([is_page_group(row) for row in rows], UNGROUPED, group))


def compare(
    plain: OutOfFold, held: OutOfFold, y: Labels, group: Labels, clusters: Clusters
) -> HeldTogether | None:
    """Return both accuracies on the rows that both tested; None if there are none.

    Args:
        plain: Predictions with rows dealt one by one, `[n, k]`.
        held: Predictions with clusters held together, `[n, k]`.
        y: Classes, `[n]`.
        group: Cluster of each row, `[n]`; -1 for a row on its own.
        clusters: Evidence and pattern of the clusters.
    """
    rows = np.flatnonzero(plain.is_tested & held.is_tested)
    if not len(rows):
        return None
    is_correct = [oof.logits[rows].argmax(1) == y[rows] for oof in (plain, held)]
    drop = is_correct[0].astype(np.float64) - is_correct[1]
    unit = number_groups(group[rows])
    deviation = np.sqrt((np.bincount(unit, drop) ** 2).sum()) / len(rows)
    is_lower = drop.mean() >= MIN_DROP and drop.mean() >= MIN_Z * deviation
    members = clusters.group[clusters.group >= 0]
    option = f"--group-from {shlex.quote(clusters.pattern)}" if clusters.pattern else COLUMN_OPTION
    return HeldTogether(
        n_images=len(members),
        n_clusters=len(np.unique(members)),
        n_train=len(clusters.group),
        evidence=clusters.evidence,
        plain=compute_interval(is_correct[0]),
        accuracy=compute_interval(is_correct[1], unit),
        is_lower=bool(is_lower),
        option=option,
    )


def _load_thumbnails(rows: tuple[Row, ...], store: Store) -> Thumbnails | None:
    """Return the thumbnails of rows, `[n, SIDE, SIDE, 3]`; None if one is unknown."""
    summaries = store.get_pixel_summaries(row.digest for row in rows)
    if any(row.digest not in summaries for row in rows):
        return None
    return stack_thumbnails([summaries[row.digest].thumbnail for row in rows])
