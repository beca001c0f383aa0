"""Semi-supervised k-means and silhouettes.

Known classes are numbered first, 0 to k - 1, and unnamed groups after them. Distances are Euclidean
in float32: centre rows far from 0 first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.maths.inverse_temperature import fit_inverse_temperature

SILHOUETTE_ROWS = 1000  # rows in the silhouette, which needs all pairwise distances
MAX_ITER = 100  # of Lloyd's algorithm
MIN_CANDIDATES = 10  # minimum of the largest number of new groups that is tried

Matrix = NDArray[np.floating[Any]]


def mean_silhouette(distances: Matrix, groups: Labels) -> float:
    """Return the mean silhouette of rows, in [-1, 1]; 0 for a single group.

    Peter J. Rousseeuw, 1987, doi:10.1016/0377-0427(87)90125-7. A row alone in its group has 0.

    Args:
        distances: Pairwise distances, `[n, n]`.
        groups: Group of each row, `[n]`.
    """
    names, group_index = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return 0.0
    rows, members = np.arange(len(group_index)), group_index[:, None] == np.arange(len(names))
    sums, sizes = distances @ members.astype(distances.dtype), members.sum(0)
    own_distance = sums[rows, group_index] / np.maximum(sizes[group_index] - 1, 1)
    mean = sums / sizes
    mean[rows, group_index] = np.inf
    nearest_distance = mean.min(1)
    score = (nearest_distance - own_distance) / np.maximum(
        np.maximum(own_distance, nearest_distance), 1e-30
    )
    return float(np.mean(np.where(sizes[group_index] > 1, score, 0)))


@dataclass(frozen=True, eq=False)
class KMeansResult:
    """A clustering.

    Attributes:
        centres: Means, `[k + new, d]` float32.
        assignment: Group of each row, `[n]`.
        inertia: Sum over rows of the squared distance to the mean of their group.
    """

    centres: Matrix
    assignment: Labels
    inertia: float


def fit_kmeans(
    x: Matrix, y: Labels, n_new: int, *, fix_known: bool = False, n_init: int = 5, seed: int = 0
) -> KMeansResult:
    """Run k-means in which labelled rows stay with their class; return the best of `n_init` runs.

    Means of known classes start at their labelled rows, new ones by k-means++ given those.

    Args:
        x: Rows, `[n, d]`.
        y: Class of each row, `[n]`, -1 where unknown; every class below the maximum has rows.
        n_new: Number of new groups, at most the number of unlabelled rows.
        fix_known: Keep the means of known classes at their labelled rows.
        n_init: Number of initializations, >= 1.
        seed: Seed of the initializations.
    """
    x = np.ascontiguousarray(x, np.float32)
    rng = np.random.default_rng(seed)
    runs = [_run_lloyd(x, y, n_new, fix_known, rng) for _ in range(n_init if n_new else 1)]
    return min(runs, key=lambda run: run.inertia)


def _run_lloyd(
    x: Matrix, y: Labels, n_new: int, fix_known: bool, rng: np.random.Generator
) -> KMeansResult:
    n_known = int(y.max(initial=-1)) + 1
    free = np.flatnonzero(y < 0)
    means = _compute_means(x, y, n_known)
    centres = np.concatenate([means, kmeans_plusplus(x[free], means, n_new, rng)])
    n_fixed, assignment = n_known if fix_known else 0, y
    for _ in range(MAX_ITER):
        previous, assignment = assignment, y.copy()
        distances = squared_distances(x[free], centres)
        assignment[free] = distances.argmin(1)
        empty = np.setdiff1d(np.arange(n_known, len(centres)), assignment)
        if len(empty):  # an empty group takes the row with the largest distance
            worst = free[np.argsort(-distances.min(1), kind="stable")[: len(empty)]]
            assignment[worst] = empty
        if np.array_equal(previous, assignment):
            break
        centres[n_fixed:] = _compute_means(x, assignment, len(centres))[n_fixed:]
    residuals = x - centres[assignment]
    return KMeansResult(centres, assignment, float(np.vdot(residuals, residuals)))


def _compute_means(x: Matrix, y: Labels, k: int) -> Matrix:
    """Return the mean of each of `k` groups, `[k, d]`; zeros for a group without rows."""
    members = (y[:, None] == np.arange(k)).astype(np.float32)
    return np.asarray(members.T @ x / np.maximum(members.sum(0), 1)[:, None], np.float32)


def kmeans_plusplus(x: Matrix, centres: Matrix, count: int, rng: np.random.Generator) -> Matrix:
    """Draw `count` rows `[count, d]` with probability proportional to the squared distance.

    The distance is that to the nearest centre or earlier draw. The draw is uniform where there is
    neither, or all distances are 0.

    Args:
        x: Rows, `[n, d]`.
        centres: Centres, `[k, d]`; may be empty.
        count: Number of rows to draw.
        rng: Random generator.
    """
    distances = squared_distances(x, centres).min(1) if len(centres) else np.ones(len(x))
    seed_rows: list[int] = []
    for _ in range(count):
        weight = np.asarray(distances, np.float64)
        total = weight.sum()
        seed_rows.append(int(rng.choice(len(x), p=weight / total if total > 0 else None)))
        new_distances = squared_distances(x, x[seed_rows[-1:]])[:, 0]
        distances = (
            new_distances
            if len(centres) + len(seed_rows) == 1
            else np.minimum(distances, new_distances)
        )
    return np.asarray(x[seed_rows], np.float32).reshape(count, x.shape[1])


def squared_distances(x: Matrix, centres: Matrix) -> Matrix:
    """Return squared distances `[n, k]` of rows `x [n, d]` from centres `[k, d]`."""
    norms = np.einsum("nd,nd->n", x, x)[:, None] + np.einsum("kd,kd->k", centres, centres)
    return np.asarray(np.maximum(norms - 2 * (x @ centres.T), 0))


def estimate_new_clusters(
    x: Matrix, y: Labels, *, fix_known: bool = False, max_new: int | None = None, seed: int = 0
) -> int:
    """Return the number of new groups with the largest mean silhouette.

    Args:
        x: Rows, `[n, d]`.
        y: Class of each row, `[n]`, -1 where unknown.
        fix_known: As in `fit_kmeans`.
        max_new: Largest number that is tried; by default twice the known classes, at least 10. It
            is at most the number of distinct unlabelled rows.
        seed: Seed of the clusterings.
    """
    from scipy.spatial.distance import cdist

    n_known = int(y.max(initial=-1)) + 1
    max_new = max(2 * n_known, MIN_CANDIDATES) if max_new is None else max_new
    max_new = min(max_new, len(np.unique(x[y < 0], axis=0)))
    if not max_new:
        return 0
    sample = np.sort(np.random.default_rng(seed).permutation(len(x))[:SILHOUETTE_ROWS])
    distances = cdist(x[sample], x[sample])
    scores = [
        mean_silhouette(
            distances,
            fit_kmeans(x, y, new, fix_known=fix_known, n_init=2, seed=seed).assignment[sample],
        )
        for new in range(0 if n_known else 1, max_new + 1)
    ]
    return int(np.argmax(scores)) + (not n_known)


def estimate_inverse_temperature(
    x: Matrix, y: Labels, groups: KMeansResult, *, fix_known: bool = False
) -> float:
    """Return the inverse temperature of the scores `-|x - mean|^2 / 2`, by leave-one-out.

    Where no class has two rows, or there is a single class, it is the inverse mean variance.

    Args:
        x: Rows, `[n, d]`.
        y: Class of each row, `[n]`, -1 where unknown.
        groups: Clustering of the rows.
        fix_known: Whether the means of known classes are those of their labelled rows alone.
    """
    mean_members = y[y >= 0] if fix_known else groups.assignment
    counts = np.bincount(mean_members, minlength=len(groups.centres))
    rows, k = np.flatnonzero((y >= 0) & (counts[y] > 1)), int(y.max()) + 1
    if not len(rows) or k < 2:
        return float(x.size / groups.inertia) if groups.inertia > 0 else 1.0
    x, y = x[rows].astype(np.float64), y[rows]
    n = counts[y, None]
    own_means = (n * groups.centres[y] - x) / (n - 1)
    scores = -0.5 * squared_distances(x, groups.centres[:k].astype(np.float64))
    scores[np.arange(len(x)), y] = -0.5 * np.sum((x - own_means) ** 2, axis=1)
    return fit_inverse_temperature(scores, y)
