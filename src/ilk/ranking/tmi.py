"""TMI: intra-class feature variance, as the entropy of features given the label.

Huiwen Xu, U Kang, 2023, Fast and Accurate Transferability Measurement by Evaluating Intra-class
Feature Variance, ICCV, arXiv 2308.05986. A larger spread within classes is taken as more room
for adaptation.

    H(Z | Y) = sum_c n_c / N h_c,
    h_c = psi(n_c) - psi(k) + d / n_c sum_i ln(2 r_i)   (Kozachenko, Leonenko 1987)

with r_i the distance, in the largest coordinate, from row i to the k-th nearest of its class.

Departures from the authors' code. It raises every r_i to at least 1, so that networks whose
features lie closer collapse to `psi - psi + d ln 2`, a ranking by width: here `floor` is 0 by
default, and only coinciding rows get a minimum distance. It divides by the number of classes once
more, which makes scores of different sets incomparable and changes nothing within one: omitted.
Classes of a single row have no spread and are omitted instead of counting as 0; with at most k rows
the farthest neighbour is used.

In the paper a larger entropy is better, for fine-tuning, and features are raw: their entropy grows
with their number and the logarithm of their scale, which are arbitrary. `width` controls for both:
principal axes of a common number and scale. On these the entropy of all rows hardly differs between
encoders, so that a larger one within classes leaves less mutual information
`I(Z; Y) = H(Z) - H(Z | Y)`: the sign of the agreement with accuracy turns. That is a control for
benchmarks, and `ilk rank` does not show it.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import digamma

from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.ranking.transferability import Matrix, check_labelled, reduce_and_scale

NAME = "TMI"
INPUT_KIND: Literal["features"] = "features"
MIN_DISTANCE_RATIO = 1e-6  # of the features' scale; replaces the distance between identical rows
MAX_DISTANCES = 2**22  # distances at a time: 32 MB


def score(
    x: NDArray[Any],
    y: Labels,
    neighbours: int = 3,
    floor: float = 0.0,
    width: int | None = None,
) -> float:
    """Return the entropy of features `x [n, d]` given labels `y [n]`, in nats.

    Args:
        neighbours: The k of the estimate, >= 1.
        floor: Minimum distance, in the units of the features, >= 0; the authors' code uses 1.
        width: Number of principal axes to reduce features to first; None keeps the features.

    Raises:
        InputError: No class has two rows, a setting is out of its range, or as `check_labelled`.
    """
    if neighbours < 1 or floor < 0:
        raise InputError(
            f"neighbours is {neighbours} and floor is {floor}; they must be >= 1 and >= 0"
        )
    z, y = check_labelled(x, y)
    z = z - z.mean(0) if width is None else reduce_and_scale(z, width)
    min_distance = max(
        floor, MIN_DISTANCE_RATIO * float(np.sqrt(np.mean(z**2))), float(np.finfo(np.float64).tiny)
    )
    counts = np.bincount(y)
    if counts.max() < 2:
        raise InputError(
            "no class has two images, so the spread within classes is undefined; label more images"
        )
    usable_classes = np.flatnonzero(counts > 1)
    entropies = [
        knn_entropy(z[y == c], min(neighbours, counts[c] - 1), min_distance) for c in usable_classes
    ]
    return float(np.average(entropies, weights=counts[usable_classes]))


def knn_entropy(z: Matrix, k: int, min_distance: float) -> float:
    """Estimate the differential entropy of rows `z [n, d]`, in nats, from k-th neighbours."""
    n, d = z.shape
    step = max(1, MAX_DISTANCES // n)
    distances = np.concatenate(
        [
            np.partition(cdist(z[start : start + step], z, "chebyshev"), k, axis=1)[:, k]
            for start in range(0, n, step)
        ]
    )  # the nearest of all is the row itself
    return float(
        digamma(n) - digamma(k) + d * np.mean(np.log(2 * np.maximum(distances, min_distance)))
    )
