"""Leave-group-out in closed form: scores and residuals of rows without any row of their group.

Where rows belong to groups (a patient, a video), a score without the row itself still rests on the
rows that resemble it, and hyperparameters chosen by leave-one-out fit these. Leaving out group g
from class means subtracts its sums; leaving it out of a least-squares fit with hat matrix H and
residuals r gives, by the same identity as for one row (`ilk.methods.ridge`),

    r_{-g} = (I - H_gg W_g)^-1 r_g

with W_g the weights of its rows; both are exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Labels
from ilk.core.statistics import Statistics
from ilk.maths.covariance import Shrinkage
from ilk.maths.folds import assign_folds, count_folds, has_shared_groups, number_groups
from ilk.maths.gaussian import compute_statistics, subtract_statistics
from ilk.maths.leave_one_out import compute_gaussian_logits

MAX_FOLDS = 10  # of rows whose statistics are subtracted
MIN_WEIGHT = 1e-9  # what remains of a class without the group, below which nothing does

Matrix = NDArray[np.float64]


def find_groups(data: Data) -> Labels | None:
    """Return the group number of each row, `[n]` from 0; None if no two rows share a group."""
    return number_groups(data.group) if has_shared_groups(data.group) else None


def list_members(group: Labels) -> list[Labels]:
    """Return the positions of the rows of each group, for group numbers `[n]` from 0."""
    order = np.argsort(group, kind="stable")
    return np.split(order, np.cumsum(np.bincount(group))[:-1])


def find_rows_with_other_groups(
    y: Labels, group: Labels, weight: Matrix | None = None
) -> NDArray[np.int64]:
    """Return the positions of the rows whose class has rows in other groups, `[m]`.

    Args:
        y: Class of each row, `[n]`.
        group: Group number of each row, `[n]`, from 0.
        weight: How many times each row counts, `[n]`; None counts each once.
    """
    w = np.ones(len(y)) if weight is None else weight
    total = np.bincount(y, w)
    pair = np.unique(np.column_stack([group, y]), axis=0, return_inverse=True)[1].ravel()
    return np.flatnonzero(total[y] - np.bincount(pair, w)[pair] > MIN_WEIGHT)


def is_alone(y: Labels, group: Labels, counts: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows belong to a class all of whose rows are in their group, `[n]`.

    Args:
        y: Class of each row, `[n]`.
        group: Group number of each row, `[n]`, from 0.
        counts: Rows of each class, `[k]`, of which these may be a part.
    """
    pair = np.unique(np.column_stack([group, y]), axis=0, return_inverse=True)[1].ravel()
    return np.asarray(counts[y] - np.bincount(pair)[pair] <= MIN_WEIGHT)


def score_without_group(
    u: Matrix,
    y: Labels,
    group: Labels,
    means: Matrix,
    counts: NDArray[Any],
    *,
    weight: Matrix | None = None,
    transform: Any = None,
    halved_norm: bool = True,
) -> Matrix:
    """Return `u @ mean - |mean|^2 / 2` of rows, `[n, k]`, with means that leave their group out.

    A class whose rows are all in the group keeps its mean.

    Args:
        u: Rows, `[n, d]`, with all members of every group.
        y: Class of each row, `[n]`.
        group: Group number of each row, `[n]`, from 0.
        means: Class means of all rows, `[k, d]`.
        counts: Rows of each class, or their total weight, `[k]`.
        weight: How many times each row counts, `[n]`; None counts each once.
        transform: Applied to means `[m, d]` before they are compared; None for nothing.
        halved_norm: Subtract `|mean|^2 / 2`; otherwise scores are inner products.
    """
    change = transform or (lambda m: m)
    w = np.ones(len(y)) if weight is None else weight

    def score(rows: Matrix, centres: Matrix) -> Matrix:
        centres = change(centres)
        scores = rows @ centres.T
        return np.asarray(scores - 0.5 * np.sum(centres**2, axis=1) if halved_norm else scores)

    out = score(u, means)
    for rows in list_members(group):
        classes, index = np.unique(y[rows], return_inverse=True)
        sums, left = np.zeros((len(classes), u.shape[1])), counts[classes].astype(np.float64)
        np.add.at(sums, index, w[rows, None] * u[rows])
        left = left - np.bincount(index, w[rows])
        has_others = left > MIN_WEIGHT
        remaining = counts[classes, None] * means[classes] - sums
        centres = np.where(
            has_others[:, None], remaining / np.where(has_others, left, 1)[:, None], means[classes]
        )
        out[np.ix_(rows, classes)] = score(u[rows], centres)
    return out


def compute_gaussian_logits_by_fold(
    stats: Statistics,
    x: NDArray[Any],
    y: Labels,
    groups: Labels,
    shrink: Shrinkage = None,
    uniform: bool = False,
    *,
    n_features: int | None = None,
    weight: Matrix | None = None,
) -> Matrix:
    """Return log posteriors up to a constant, `[m, k]`, from Gaussians without the row's group.

    Rows are held out in up to `MAX_FOLDS` folds of whole groups, whose statistics are subtracted.
    The logit of a class is `-inf` where no row of it is left.

    Args:
        stats: Counts, means and scatter of all rows, for k classes.
        x: Rows that `stats` counts, `[m, d]`; all rows of a group that it counts.
        y: Their classes, `[m]`.
        groups: Group of each row, `[m]`; -1 is a group of its own.
        shrink: Shrinkage of the covariance, as in `ilk.maths.covariance.estimate_covariance`.
        uniform: Assume equal priors for all classes with rows.
        n_features: Number of features, where rows are coordinates in their span.
        weight: How many times each row counts, `[m]`; None counts each once.
    """
    n_folds = max(2, count_folds(y, MAX_FOLDS, groups))
    fold = assign_folds(y, n_folds, groups=groups)
    out = np.zeros((len(x), len(stats.counts)))
    for f in np.unique(fold):
        rows = fold == f
        own_weight = None if weight is None else weight[rows]
        held_out = compute_statistics(x[rows], y[rows], len(stats.counts), weight=own_weight)
        rest = subtract_statistics(stats, held_out)
        no_row = np.full(int(rows.sum()), -1)  # none of them is in `rest`
        out[rows] = compute_gaussian_logits(
            rest, x[rows], no_row, shrink, uniform, n_features=n_features
        )
    return out


def leave_group_out_residuals(
    z: Matrix, residual: Matrix, inverse: Matrix, total: float, weight: Matrix
) -> Matrix:
    """Return the residuals `[a, n, k]` of the rows of one group in fits without them.

    Args:
        z: Rows of the group in principal axes, `[n, r]`.
        residual: Their residuals in the fits of all rows, `[a, n, k]`.
        inverse: Inverse of eigenvalue plus penalty of each fit and axis, `[a, r]`, > 0.
        total: Total weight of all rows of the fits.
        weight: Weight of each row of the group, `[n]`.
    """
    n, width = len(z), z.shape[1] + 1
    design = np.column_stack([np.ones(n), z])
    scale = np.column_stack([np.full(len(inverse), 1 / total), inverse])
    if n <= width:
        hat = np.einsum("nr,ar,mr->anm", design, scale, design, optimize=True)
        return np.asarray(np.linalg.solve(np.eye(n) - hat * weight + _jitter(n), residual))
    gram = design.T @ (weight[:, None] * design)
    inner = np.einsum("ar,rs->ars", 1 / scale, np.eye(width)) - gram + _jitter(width)
    moment = design.T @ (weight[:, None] * residual)
    return np.asarray(residual + design @ np.linalg.solve(inner, moment))


def _jitter(n: int) -> Matrix:
    """Return a small diagonal, for a group without which the fit is not determined."""
    return np.asarray(1e-10 * np.eye(n))
