"""Groups of rows: how they match classes, how far apart they lie, and means beside known classes.

Known classes come first in every numbering, 0 to k - 1, and groups that have no name after them.
Distances are Euclidean in float32: rows far from 0 are centred before they come in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from ilk.data import Labels
from ilk.maths.sharpness import sharpness

JUDGED = 1000  # rows that the silhouette is taken of: it needs all their distances
SWEEPS = 100  # of Lloyd's algorithm, the most
LEAST_TRIED = 10  # new groups that are tried at the least, where their number is not told

Matrix = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Matched:
    """Shares of rows in the right group, in [0, 1]; nan where there is no such row.

    Attributes:
        every: Of all rows.
        old: Of rows whose class is known.
        new: Of rows whose class is not.
    """

    every: float
    old: float
    new: float


def matched(truth: Labels, answer: Labels, known: int) -> Matched:
    """Clustering accuracy under the best pairing of groups and classes.

    One pairing over all classes at once, as generalised category discovery is judged (Vaze et al.
    2022, arXiv 2201.02609): old rows in a group that is paired with a new class are wrong, and so
    are all rows of groups beyond the number of classes.

    Args:
        truth: Class of each row, `[n]`; the `known` first are the old classes.
        answer: Group of each row, `[n]`.
    """
    groups, at = np.unique(answer, return_inverse=True)
    width = max(len(groups), int(truth.max(initial=0)) + 1)
    table = np.zeros((width, width))
    np.add.at(table, (at, truth), 1)
    right = linear_sum_assignment(-table)[1][at] == truth
    parts = (right, right[truth < known], right[truth >= known])
    return Matched(*(float(part.mean()) if len(part) else float("nan") for part in parts))


def silhouette(apart: Matrix, groups: Labels) -> float:
    """Mean silhouette of rows with distances `apart [n, n]`, in [-1, 1]; 0 for a single group.

    Peter J. Rousseeuw, 1987, doi:10.1016/0377-0427(87)90125-7. A row alone in its group has 0.
    """
    names, at = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return 0.0
    rows, members = np.arange(len(at)), at[:, None] == np.arange(len(names))
    sums, sizes = apart @ members.astype(apart.dtype), members.sum(0)
    own = sums[rows, at] / np.maximum(sizes[at] - 1, 1)
    mean = sums / sizes
    mean[rows, at] = np.inf
    near = mean.min(1)
    score = (near - own) / np.maximum(np.maximum(own, near), 1e-30)
    return float(np.mean(np.where(sizes[at] > 1, score, 0)))


@dataclass(frozen=True, eq=False)
class Groups:
    """Means and who belongs to them.

    Attributes:
        centres: `[k + new, d]` float32.
        answer: Group of each row, `[n]`.
        spread: Sum over rows of the squared distance to their group's mean.
    """

    centres: Matrix
    answer: Labels
    spread: float


def grouped(
    x: Matrix, y: Labels, new: int, *, fixed: bool = False, restarts: int = 5, seed: int = 0
) -> Groups:
    """The tightest of `restarts` runs of k-means in which labelled rows stay with their class.

    Means of known classes start where their labelled rows are; new ones by k-means++ from there.

    Args:
        x: Rows, `[n, d]`.
        y: Class of each row, `[n]`, -1 where not known; every class below its maximum has a row.
        new: Number of further groups, at most the number of rows without a label.
        fixed: Means of known classes stay where their labelled rows are.
        restarts: Of the seeding, >= 1.
    """
    x = np.ascontiguousarray(x, np.float32)
    rng = np.random.default_rng(seed)
    runs = [_lloyd(x, y, new, fixed, rng) for _ in range(restarts if new else 1)]
    return min(runs, key=lambda run: run.spread)


def _lloyd(x: Matrix, y: Labels, new: int, fixed: bool, rng: np.random.Generator) -> Groups:
    known = int(y.max(initial=-1)) + 1
    free = np.flatnonzero(y < 0)
    means = _means(x, y, known)
    centres = np.concatenate([means, seeds(x[free], means, new, rng)])
    held, answer = known if fixed else 0, y
    for _ in range(SWEEPS):
        before, answer = answer, y.copy()
        apart = squares(x[free], centres)
        answer[free] = apart.argmin(1)
        empty = np.setdiff1d(np.arange(known, len(centres)), answer)
        if len(empty):  # a mean that nobody is near to moves to the rows that fit worst
            worst = free[np.argsort(-apart.min(1), kind="stable")[: len(empty)]]
            answer[worst] = empty
        if np.array_equal(before, answer):
            break
        centres[held:] = _means(x, answer, len(centres))[held:]
    off = x - centres[answer]
    return Groups(centres, answer, float(np.vdot(off, off)))


def _means(x: Matrix, y: Labels, k: int) -> Matrix:
    """Mean row of each of `k` groups, `[k, d]`; 0 where a group has no row."""
    members = (y[:, None] == np.arange(k)).astype(np.float32)
    return np.asarray(members.T @ x / np.maximum(members.sum(0), 1)[:, None], np.float32)


def seeds(x: Matrix, centres: Matrix, count: int, rng: np.random.Generator) -> Matrix:
    """`count` rows of `x [n, d]`, each drawn by its squared distance from all that stands so far.

    Where nothing stands, the first is drawn evenly; where all rows are on a mean, so are the rest.
    """
    apart = squares(x, centres).min(1) if len(centres) else np.ones(len(x))
    chosen: list[int] = []
    for _ in range(count):
        weight = np.asarray(apart, np.float64)
        total = weight.sum()
        chosen.append(int(rng.choice(len(x), p=weight / total if total > 0 else None)))
        own = squares(x, x[chosen[-1:]])[:, 0]
        apart = own if len(centres) + len(chosen) == 1 else np.minimum(apart, own)
    return np.asarray(x[chosen], np.float32).reshape(count, x.shape[1])


def squares(x: Matrix, centres: Matrix) -> Matrix:
    """Squared distances `[n, k]` of rows from means."""
    away = np.einsum("nd,nd->n", x, x)[:, None] + np.einsum("kd,kd->k", centres, centres)
    return np.asarray(np.maximum(away - 2 * (x @ centres.T), 0))


def numbered(
    x: Matrix, y: Labels, *, fixed: bool = False, most: int | None = None, seed: int = 0
) -> int:
    """How many new groups there are: the number under which the silhouette of all rows is largest.

    0 to `most` are tried (twice the known classes, at least 10), as far as free rows differ.
    """
    known = int(y.max(initial=-1)) + 1
    most = max(2 * known, LEAST_TRIED) if most is None else most
    most = min(most, len(np.unique(x[y < 0], axis=0)))
    if not most:
        return 0
    judged = np.sort(np.random.default_rng(seed).permutation(len(x))[:JUDGED])
    apart = cdist(x[judged], x[judged])
    scores = [
        silhouette(apart, grouped(x, y, new, fixed=fixed, restarts=2, seed=seed).answer[judged])
        for new in range(0 if known else 1, most + 1)
    ]
    return int(np.argmax(scores)) + (not known)


def sharp(x: Matrix, y: Labels, groups: Groups, *, fixed: bool = False) -> float:
    """The factor that makes `-|x - mean|^2 / 2` log-probabilities, from rows `x` with a label `y`.

    `fixed`: means of known classes are of their labelled rows alone, as in `grouped`.

    Each is scored with its own mean made without it. Where no class has two rows, or there is one
    class, it is 1 over the mean square of a feature's deviation.
    """
    behind = y[y >= 0] if fixed else groups.answer
    counts = np.bincount(behind, minlength=len(groups.centres))
    rows, k = np.flatnonzero((y >= 0) & (counts[y] > 1)), int(y.max()) + 1
    if not len(rows) or k < 2:
        return float(x.size / groups.spread) if groups.spread > 0 else 1.0
    x, y = x[rows].astype(np.float64), y[rows]
    n = counts[y, None]
    own = (n * groups.centres[y] - x) / (n - 1)
    scores = -0.5 * squares(x, groups.centres[:k].astype(np.float64))
    scores[np.arange(len(x)), y] = -0.5 * np.sum((x - own) ** 2, axis=1)
    return sharpness(scores, y)
