"""Repeat the cross-validation of the best candidates over other folds; see `repeated_folds`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ilk.core.data import UNLABELLED, Data, Labels
from ilk.core.progress import Progress
from ilk.fitting.fit_cost import estimate_seconds
from ilk.fitting.leaderboard_builder import FIT_ERRORS, Candidate, LeaderboardBuilder
from ilk.fitting.repeated_folds import FEW_IMAGES, MAX_REPEATS, NOISE_RATIO, Run
from ilk.maths.folds import count_groups
from ilk.protocols import stratified_folds

SEED_STEP = 7919  # between the seeds of repeated folds


def has_few_images(y: Labels, groups: Labels | None = None) -> bool:
    """Return whether tested labels `[m]` average fewer than `FEW_IMAGES` per class.

    Where images belong to `groups [m]`, these count instead.
    """
    return int(count_groups(y, groups).sum()) < FEW_IMAGES * len(np.unique(y))


def repeat_folds(
    builder: LeaderboardBuilder,
    candidates: Sequence[Candidate],
    data_by_encoder: Mapping[str, Data],
    *,
    n_folds: int,
    seed: int,
    max_seconds: float,
    progress: Progress,
) -> str:
    """Repeat the folds of the best candidates until their assignment no longer matters.

    Args:
        builder: Candidates after one set of folds; receives the averaged scores.
        candidates: Encoder name and method of each.
        data_by_encoder: Features by encoder name.
        n_folds: Number of folds.
        seed: Seed of the first set of folds.
        max_seconds: Limit of the time that repeats take by estimate, so that it is the same on
            every machine (`ilk.fitting.fit_cost`). Candidates are left out, worst first, if it
            allows fewer than three sets of folds of all of them.
        progress: Reports each repeat.

    Returns:
        How often the folds were repeated, as a sentence; "" where they were not.
    """
    if max_seconds <= 0 or not has_few_images(builder.tested_labels, builder.tested_groups):
        return ""
    seconds = {
        i: estimate_seconds(method, data_by_encoder[name], builder.n_folds)
        for i, (name, method) in enumerate(candidates)
        if i in builder.kept
    }
    indices = _choose_candidates(builder, seconds, max_seconds)
    if not indices:
        return ""
    n_repeats = min(MAX_REPEATS - 1, int(max_seconds / sum(seconds[i] for i in indices)))
    runs = {i: [builder.kept[i][0]] for i in indices}
    group = next(iter(data_by_encoder.values())).group
    y = np.where(builder.is_tested, builder.y, UNLABELLED)
    with progress("repeated folds", n_repeats) as advance:
        for repeat in range(1, 1 + n_repeats):
            fold = stratified_folds(y, n_folds, seed + SEED_STEP * repeat, group)
            if not np.array_equal(fold >= 0, builder.is_tested):
                continue  # another deal of groups cannot test the same rows
            added = _run_all(builder, candidates, data_by_encoder, indices, fold)
            indices = [i for i in indices if i in added]
            for i in indices:
                runs[i].append(added[i])
            advance(1)
            if not indices or _is_settled(builder, runs, indices):
                break
    n_done = max((len(runs[i]) for i in indices), default=1)
    if n_done == 1:
        return ""
    for i in indices:
        builder.set_runs(i, runs[i], builder.rate(runs[i]))
    best = builder.best_index
    ratio = builder.rate(runs[best]).noise_ratio
    who = "candidate was" if len(indices) == 1 else f"{len(indices)} candidates were"
    units = "images" if builder.tested_groups is None else "groups of images"
    return (
        f"with fewer than {FEW_IMAGES} {units} per class the folds matter, so the best {who} "
        f"cross-validated over {n_done} sets of folds: scores are means over the sets (their "
        f"standard error is {100 * ratio:.0f} % of the sampling error of the images), and "
        "intervals include the spread over the sets"
    )


def _choose_candidates(
    builder: LeaderboardBuilder, seconds: Mapping[int, float], max_seconds: float
) -> list[int]:
    """Return the best candidates whose folds can be repeated twice within the time limit."""
    best = builder.best_index
    tied = builder.find_tied()
    order = sorted(builder.kept, key=lambda i: (i != best, i not in tied, builder.sort_key(i)))
    totals = np.cumsum([seconds[i] for i in order])
    return [i for i, total in zip(order, totals, strict=True) if 2 * total <= max_seconds]


def _run_all(
    builder: LeaderboardBuilder,
    candidates: Sequence[Candidate],
    data_by_encoder: Mapping[str, Data],
    indices: Sequence[int],
    fold: Labels,
) -> dict[int, Run]:
    """Return the run of each candidate over `fold [n]`; those that fail are left out."""
    runs = {}
    for i in indices:
        name, method = candidates[i]
        try:
            runs[i] = builder.run(method, data_by_encoder[name], fold)
        except FIT_ERRORS:
            continue
    return runs


def _is_settled(
    builder: LeaderboardBuilder, runs: Mapping[int, list[Run]], indices: Sequence[int]
) -> bool:
    """Return whether the noise of the folds is small for the candidate that leads so far."""
    rated = {i: builder.rate(runs[i]) for i in indices}
    leader = max(indices, key=lambda i: rated[i].scores.accuracy.value)
    return rated[leader].noise_ratio <= NOISE_RATIO
