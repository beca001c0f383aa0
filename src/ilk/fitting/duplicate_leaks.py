"""`--group-from duplicates`: copies of one picture on one side, and what the leaks were worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ilk.core.capabilities import Embeds, ScoresClasses
from ilk.core.data import UNGROUPED, UNLABELLED, Labels
from ilk.core.duplicate_leaks import DuplicateLeaks, LeakComparison
from ilk.core.errors import IlkError, InputError
from ilk.core.progress import Progress
from ilk.deduplication.evidence import CONTENT, Link
from ilk.deduplication.find_groups import FALSE_MATCHES, find_groups
from ilk.deduplication.stars import connect_links
from ilk.fitting.cross_validation import cross_validate
from ilk.fitting.fit_state import FitState
from ilk.fitting.leaderboard_builder import FIT_ERRORS
from ilk.fitting.split import split_images
from ilk.images import Images, Row
from ilk.images.annotations.groups import SPLIT_REASON, refuse_split_groups
from ilk.images.decoding.pages import is_page_group
from ilk.maths.clusters import compute_interval
from ilk.maths.folds import number_groups
from ilk.protocols import stratified_folds
from ilk.store import Store

CROSS_VALIDATION = "cross-validation"
MIN_Z = 2.0  # standard deviations of a clear difference


@dataclass(frozen=True, eq=False)
class GroupedDuplicates:
    """Images whose copies have a group in common.

    Attributes:
        images: With groups; training images with a held-out copy are refused.
        before: With groups, and no image refused for that reason.
        leaks: What was found, without comparisons.
    """

    images: Images
    before: Images
    leaks: DuplicateLeaks


def group_duplicates(
    images: Images, encoders: Sequence[Embeds], store: Store, seed: int, progress: Progress
) -> GroupedDuplicates:
    """Return the images with a group for each picture that is there more than once.

    All that is linked in any way is one group here: for a split, a group that is too large costs
    little, and one that is too small is a leak. Copies with the same content or pixels are refused
    already and have no group.

    Args:
        images: Images that are encoded.
        encoders: Of the fit; the last one with features of its own is used.
        store: Their features.
        seed: Of the calibration.
        progress: Reports the progress of long operations.

    Raises:
        InputError: There are groups already, or no encoder gives features.
    """
    if any(row.group and not is_page_group(row) for row in images.used):
        raise InputError(
            "the images have groups, and group_from (--group-from) duplicates would give them "
            "different groups; leave one of the two out"
        )
    networks = [encoder for encoder in encoders if not isinstance(encoder, ScoresClasses)]
    if not networks:
        raise InputError(
            "group_from (--group-from) duplicates compares features, and a diffusion classifier "
            "has none; name an encoder, too: --encoder hog"
        )
    found = find_groups(images, networks[-1], store, seed=seed, progress=progress)
    links = [*found.links, *_link_pages(images.rows)]
    rows = list(images.rows)
    n_groups = n_images = 0
    for positions in connect_links(links):
        used = [i for i in positions if rows[i].status == "used"]
        if len(used) < 2:
            continue
        n_groups += 1
        n_images += len(used)
        for i in used:
            rows[i] = replace(rows[i], group=f"copies {n_groups}")
    before = replace(images, rows=tuple(rows))
    after = replace(images, rows=tuple(refuse_split_groups(rows)))
    leaks = DuplicateLeaks(
        n_groups,
        n_images,
        sum(row.reason == SPLIT_REASON for row in after.rows)
        - sum(row.reason == SPLIT_REASON for row in images.rows),
        found.encoder,
        FALSE_MATCHES,
    )
    return GroupedDuplicates(after, before, leaks)


def _link_pages(rows: Sequence[Row]) -> list[Link]:
    """Return links between the used pages of each file, which stay together."""
    links, first = [], dict[str, int]()
    for i, row in enumerate(rows):
        if row.status == "used" and row.group and (j := first.setdefault(row.group, i)) != i:
            links.append(Link(j, i, CONTENT))
    return links


def compare_leaks(state: FitState, found: GroupedDuplicates, store: Store) -> FitState:
    """Return the state with the accuracy of the selected method with and without leaks.

    Args:
        state: Result of model selection, with copies held together.
        found: The images with their copies.
        store: Features.
    """
    comparisons = [_compare_folds(state), _compare_held_out(state, found.before, store)]
    leaks = replace(found.leaks, comparisons=tuple(c for c in comparisons if c is not None))
    return replace(state, duplicate_leaks=leaks)


def _compare_folds(state: FitState) -> LeakComparison | None:
    """Return the cross-validated accuracies; None if no copies are in the folds."""
    data, held = state.features, state.leaderboard.out_of_fold
    if held is None:
        return None
    tested = np.where(state.leaderboard.fold >= 0, data.y, UNLABELLED)
    fold = stratified_folds(tested, state.config.folds, state.config.seed)
    try:
        loose = replace(data, group=np.full(len(data), UNGROUPED))
        plain = cross_validate(state.method, loose, fold)
    except FIT_ERRORS:
        return None
    rows = np.flatnonzero(plain.is_tested & held.is_tested)
    labelled = (data.group >= 0) & (data.y >= 0)
    leaked = [
        bool(np.any((data.group == data.group[i]) & labelled & (fold != fold[i])))
        for i in rows.tolist()
        if data.group[i] >= 0
    ]
    if not any(leaked):
        return None
    correct = [oof.logits[rows].argmax(1) == data.y[rows] for oof in (plain, held)]
    return _compare(CROSS_VALIDATION, correct, number_groups(data.group[rows]), sum(leaked))


def _compare_held_out(state: FitState, before: Images, store: Store) -> LeakComparison | None:
    """Return the accuracies on the held-out split; None if no copy of its images was to learn."""
    rows = state.split.held_out
    unsplit = split_images(before, state.config)
    tested = {row.group for row in rows if row.group}
    leaked = {row.group for row in unsplit.train if row.group in tested}
    if not rows or not leaked or unsplit.classes != state.split.classes:
        return None
    space = state.encoder.space
    known = {row.digest for row in state.split.train}
    added = tuple(row for row in unsplit.train if row.digest not in known)
    data, n, m = state.features, len(state.split.train), len(added)
    try:
        x, y = (
            store.get(space, [row.digest for row in rows]),
            state.split.encode_labels(rows),
        )
        more = store.get(space, [row.digest for row in added])
        extended = replace(
            data.take(np.arange(n)),
            x=np.concatenate([data.x[:n], more.reshape(len(more), *data.x.shape[1:])]),
            y=np.concatenate([data.y[:n], state.split.encode_labels(added)]),
            domain=np.concatenate([data.domain[:n], np.zeros(m, np.int64)]),
            bag=np.concatenate([data.bag[:n], data.bag.max(initial=-1) + 1 + np.arange(m)]),
            group=np.concatenate([data.group[:n], np.full(m, UNGROUPED)]),
            weight=np.concatenate([data.weight[:n], np.ones(m)]),
        )
        correct = [
            state.method.fit(train).logits(x.reshape(len(x), *data.x.shape[1:])).argmax(1) == y
            for train in (extended, data)
        ]
    except (*FIT_ERRORS, IlkError):
        return None
    n_leaked = sum(row.group in leaked for row in rows)
    names = {group: i for i, group in enumerate(sorted(tested))}
    group = np.array([names[row.group] if row.group else UNGROUPED for row in rows], np.int64)
    return _compare(state.split.held_out_name, correct, number_groups(group), n_leaked)


def _compare(
    on: str, correct: Sequence[NDArray[np.bool_]], unit: Labels, n_leaked: int
) -> LeakComparison:
    """Return both accuracies of rows whose copies share a unit `[n]`."""
    drop = correct[0].astype(np.float64) - correct[1]
    deviation = float(np.sqrt((np.bincount(unit, drop) ** 2).sum())) / len(drop)
    return LeakComparison(
        on,
        n_leaked,
        len(drop),
        compute_interval(correct[0]),
        compute_interval(correct[1], unit),
        bool(drop.mean() > 0 and drop.mean() >= MIN_Z * deviation),
    )
