"""PARC: whether images whose features correlate have the same class.

Daniel Bolya, Rohit Mittapalli, Judy Hoffman, 2021, Scalable Diverse Model Selection for Accessible
Transfer Learning, arXiv 2111.06977; as the similarity of tasks in Kenneth Borup, Cheng Perng Phoo,
Bharath Hariharan, 2023, Distilling from Similar Tasks for Transfer Learning on a Budget, arXiv
2304.12314.

    PARC = Spearman( 1 - Pearson(x_i, x_j), 1 - Pearson(e_i, e_j) )   over pairs i < j

with e the one-hot label. The second dissimilarity has two values, so that the correlation is one of
ranks and a binary variable; it is 0 where the features say nothing of the labels, and at most
`sqrt(3 p (1 - p))`, about, where a part p of the pairs differ in class.

Departures: features are not reduced by PCA, the correlation is not multiplied by 100, and beyond
1,000 images those with the smallest digests of their features count, so that the order of rows does
not matter.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels, one_hot
from ilk.core.errors import InputError
from ilk.ranking.transferability import Matrix, check_labelled

NAME = "PARC"
INPUT_KIND: Literal["features"] = "features"
MAX_IMAGES = 1_000  # half a million pairs


def score(x: NDArray[Any], y: Labels, max_images: int = MAX_IMAGES) -> float:
    """Return PARC of features `x [n, d]` and labels `y [n]`, in [-1, 1].

    Args:
        max_images: Images that are compared with each other, >= 2.

    Raises:
        NoLabels, InputError: As `check_labelled`, or `max_images` is out of its range.
    """
    if max_images < 2:
        raise InputError(f"max_images is {max_images}; it must be at least 2")
    x, y = check_labelled(x, y)
    if len(x) > max_images:
        kept = _choose_rows(x, max_images)
        x, y = x[kept], y[kept]
    return correlate_ranks(
        compute_dissimilarities(x), compute_dissimilarities(one_hot(y, int(y.max()) + 1))
    )


def compute_dissimilarities(x: NDArray[Any]) -> Matrix:
    """Return 1 - Pearson's correlation of each pair of rows of `x [n, d]`, `[n (n - 1) / 2]`.

    The correlation with a constant row is 0.
    """
    z = np.asarray(x, np.float64)
    z = z - z.mean(1, keepdims=True)
    length = np.linalg.norm(z, axis=1, keepdims=True)
    z = np.divide(z, length, out=np.zeros_like(z), where=length > 0)
    return np.asarray(1 - (z @ z.T)[np.triu_indices(len(z), 1)])


def correlate_ranks(a: Matrix, b: Matrix) -> float:
    """Return Spearman's correlation of `a [m]` and `b [m]`; 0 where either is constant."""
    from scipy.stats import rankdata

    ranks = [rankdata(values.round(12)) for values in (a, b)]
    ranks = [values - values.mean() for values in ranks]
    scale = float(np.linalg.norm(ranks[0]) * np.linalg.norm(ranks[1]))
    return float(ranks[0] @ ranks[1]) / scale if scale else 0.0


def _choose_rows(x: Matrix, count: int) -> Labels:
    """Return the positions of the `count` rows of `x [n, d]` with the smallest digests."""
    digests = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in x]
    return np.asarray(sorted(range(len(x)), key=digests.__getitem__)[:count], np.int64)
