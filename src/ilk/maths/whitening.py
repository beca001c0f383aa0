"""Roots of covariances, shrunk so that directions that hardly vary do not dominate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
FLOOR = 1e-10  # smallest eigenvalue, relative to their mean


def shrink_to_identity(covariance: Matrix, shrink: float) -> Matrix:
    """Return `(1 - s) C + s tr(C) / d I`, `[d, d]`, for a covariance C `[d, d]` and s in [0, 1]."""
    d = len(covariance)
    shrunk = (1 - shrink) * covariance
    shrunk[np.diag_indices(d)] += shrink * np.trace(covariance) / d
    return np.asarray(shrunk)


def take_inverse_root(covariance: Matrix) -> Matrix:
    """Return the symmetric `C^(-1/2)`, `[d, d]`; eigenvalues near 0 are raised to `FLOOR`.

    A covariance `[d, d]` of zeros has the identity as its root.
    """
    values, vectors = np.linalg.eigh(covariance)
    mean = float(values.mean())
    if mean <= 0:
        return np.eye(len(covariance))
    return np.asarray((vectors / np.sqrt(np.maximum(values, FLOOR * mean))) @ vectors.T)
