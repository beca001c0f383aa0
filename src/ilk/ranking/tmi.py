"""TMI: how much rows of one class still differ, as the entropy of features given the label.

Huiwen Xu, U Kang, 2023, Fast and Accurate Transferability Measurement by Evaluating Intra-class
Feature Variance, ICCV, arXiv 2308.05986. A larger spread within classes is taken to say that more
can still be adapted.

    H(Z | Y) = sum_c n_c / N h_c,
    h_c = psi(n_c) - psi(k) + d / n_c sum_i ln(2 r_i)   (Kozachenko, Leonenko 1987)

with r_i the distance, in the largest coordinate, from row i to the k-th nearest of its class.

Departures from the authors' code. It raises every r_i to at least 1, so that networks whose
features lie closer collapse to `psi - psi + d ln 2`, a ranking by width: here `floor` is 0 unless
told, and only rows that coincide get a least distance. It divides by the number of classes once
more, which makes scores of different sets incomparable and changes nothing within one: left out.
Classes of a single row say nothing of a spread and are left out instead of counting as 0; with no
more than k rows the neighbour is the farthest there is.

The entropy of raw features grows with their number and with the logarithm of their scale, which no
encoder owes anyone; `width` is the control: principal axes of a common number and scale. In `ilk
bench which_encoder` TMI tells accuracies apart less well than LogME, H-score and neighbours, frozen
or fine-tuned, and over all encoders no better than their number of features; in common axes its
sign turns, for what spreads within classes there is hard for a head. It is only the fastest.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import digamma

from ilk.data import Labels
from ilk.errors import InputError
from ilk.ranking.contract import Matrix, equalised, labelled

NAME = "TMI"
READS: Literal["features"] = "features"
TINY = 1e-6  # of the features' scale, the distance between rows that coincide
FLOATS = 2**22  # distances at a time: 32 MB


def score(
    x: NDArray[Any],
    y: Labels,
    neighbours: int = 3,
    floor: float = 0.0,
    width: int | None = None,
) -> float:
    """Entropy of features `x [n, d]` given labels `y [n]`, in nats.

    Args:
        neighbours: The k of the estimate, >= 1.
        floor: Least distance, in the units of the features, >= 0; the authors' code takes 1.
        width: Principal axes that features are brought to first; None leaves them as they are.

    Raises:
        InputError: No class has two rows, a setting is out of its range, or as `labelled` says.
    """
    if neighbours < 1 or floor < 0:
        raise InputError(
            f"{neighbours} neighbours and a floor of {floor} are none; give >= 1 and >= 0"
        )
    z, y = labelled(x, y)
    z = z - z.mean(0) if width is None else equalised(z, width)
    least = max(floor, TINY * float(np.sqrt(np.mean(z**2))), float(np.finfo(np.float64).tiny))
    counts = np.bincount(y)
    if counts.max() < 2:
        raise InputError("no class has two images, so nothing is known of how classes spread")
    told = np.flatnonzero(counts > 1)
    each = [entropy(z[y == c], min(neighbours, counts[c] - 1), least) for c in told]
    return float(np.average(each, weights=counts[told]))


def entropy(z: Matrix, k: int, least: float) -> float:
    """Differential entropy of rows `z [n, d]` in nats, from distances to the k-th neighbour."""
    n, d = z.shape
    step = max(1, FLOATS // n)
    far = np.concatenate(
        [
            np.partition(cdist(z[at : at + step], z, "chebyshev"), k, axis=1)[:, k]
            for at in range(0, n, step)
        ]
    )  # the nearest of all is the row itself
    return float(digamma(n) - digamma(k) + d * np.mean(np.log(2 * np.maximum(far, least))))
