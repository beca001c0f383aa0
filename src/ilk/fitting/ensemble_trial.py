"""Try an ensemble of candidates on held-out folds; see `ilk.fitting.combination`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import Method, describe
from ilk.core.ensemble import pool_log_probabilities
from ilk.encoders.combined import SEPARATOR
from ilk.fitting.ensemble_selection import cross_fit_weights, select_weights
from ilk.fitting.leaderboard_builder import LeaderboardBuilder
from ilk.fitting.repeated_folds import Run
from ilk.fitting.selection_statistics import Outcomes
from ilk.trust.calibration import cross_calibrate

MAX_ENCODERS = 3  # in one ensemble

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LibraryItem:
    """A candidate with the encoders whose features it reads and its out-of-fold predictions."""

    encoders: tuple[str, ...]
    method: Method
    runs: Sequence[Run]

    @property
    def label(self) -> tuple[str, str]:
        """Name of its encoders, and its method as text."""
        return SEPARATOR.join(self.encoders), describe(self.method)


@dataclass(frozen=True, eq=False)
class Trial:
    """An ensemble on held-out folds.

    Attributes:
        items: Its members.
        weights: Their weights, selected on all rows, `[m]`.
        fold_weights: Weights for the rows of each fold, selected on the others, `[F, m]`.
        runs: Out-of-fold predictions of the cross-fitted mixture, one per set of folds.
        outcomes: Their mean outcomes.
    """

    items: Sequence[LibraryItem]
    weights: Vector
    fold_weights: Vector
    runs: Sequence[Run]
    outcomes: Outcomes


def try_ensemble(
    builder: LeaderboardBuilder, library: Sequence[LibraryItem], seed: int = 0
) -> Trial:
    """Select an ensemble of candidates of a library and score it on held-out folds."""
    y, fold = builder.tested_labels, builder.fold[builder.is_tested]
    rows = np.arange(len(y))
    n_runs = len(library[0].runs)
    own = np.stack(
        [np.concatenate([run.probabilities[rows, y] for run in i.runs]) for i in library]
    )
    groups = None if builder.tested_groups is None else np.tile(builder.tested_groups, n_runs)
    weights = _limit_encoders(select_weights(own, seed, groups), library)
    is_member = weights > 0
    items = [item for item, is_one in zip(library, is_member, strict=True) if is_one]
    fold_weights = _limit_encoders(
        cross_fit_weights(own, np.tile(fold, n_runs), seed, groups), library
    )
    runs = mix_runs(builder, library, fold_weights)
    outcomes = builder.rate(runs).outcomes
    return Trial(items, weights[is_member], fold_weights[:, is_member], runs, outcomes)


def mix_runs(
    builder: LeaderboardBuilder, items: Sequence[LibraryItem], fold_weights: Vector
) -> list[Run]:
    """Return the cross-fitted mixture of items as runs, calibrated on the other folds.

    Args:
        builder: The evaluated candidates.
        items: Members.
        fold_weights: Their weights for the rows of each fold, `[F, m]`.
    """
    mixed = []
    row_weights = fold_weights[builder.fold[builder.is_tested]]
    for r, run in enumerate(items[0].runs):
        probabilities = [item.runs[r].probabilities for item in items]
        logits = pool_log_probabilities(probabilities, list(row_weights.T))
        p = cross_calibrate(builder.spread(logits), builder.y, run.fold)
        seconds = sum(item.runs[r].seconds for item in items)
        mixed.append(Run(logits, p[builder.is_tested].astype(np.float32), run.fold, seconds))
    return mixed


def _limit_encoders(weights: Vector, library: Sequence[LibraryItem]) -> Vector:
    """Return the weights `[..., m]` of the items of the heaviest `MAX_ENCODERS` encoders."""
    names = list(dict.fromkeys(name for item in library for name in item.encoders))
    reads = np.array([[name in item.encoders for name in names] for item in library], float)
    share = weights @ reads
    is_kept = (-share).argsort(-1, kind="stable").argsort(-1) < MAX_ENCODERS
    limited = weights * (~is_kept.astype(bool) @ reads.T == 0)
    total = limited.sum(-1, keepdims=True)
    return np.asarray(np.where(total > 0, limited / np.where(total > 0, total, 1), weights))
