"""Factor analysis of one class: its mean, a few loadings and a residual standard deviation.

    x = mean + loadings' z + residual_std * e,   z [r] and e [d] standard normal

The loadings are the first principal directions times their standard deviations, and every feature
has its own residual, so that each keeps its variance (Tipping and Bishop, 1999,
doi:10.1111/1467-9868.00196, where one residual serves all features).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.maths.pca import fit_pca, weighted_mean, weighted_variance

Matrix = NDArray[np.float64]


def fit_factors(x: NDArray[Any], n_factors: int, weight: Matrix | None = None) -> Matrix:
    """Return mean, loadings and residual std of rows `x [n, d]`, stacked: `[n_factors + 2, d]`.

    The largest entry of each loading is positive, so that the result is unique; loadings beyond the
    rank of the rows are 0.

    Args:
        x: Rows, `[n, d]`.
        n_factors: Number of loadings, >= 0.
        weight: How many times each row counts, `[n]`, > 0; None counts each once.
    """
    out = np.zeros((n_factors + 2, x.shape[1]))
    out[0] = weighted_mean(x, weight)
    if len(x) < 2:
        return out
    pca, n = fit_pca(x, weight=weight), len(x) if weight is None else float(weight.sum())
    basis = pca.basis[:, :n_factors]
    signs = np.sign(basis[np.abs(basis).argmax(0), np.arange(basis.shape[1])])
    out[1 : 1 + basis.shape[1]] = (basis * signs * np.sqrt(pca.eigenvalues[:n_factors] / n)).T
    residual_variance = weighted_variance(x, weight) - np.sum(out[1:-1] ** 2, axis=0)
    out[-1] = np.sqrt(np.maximum(residual_variance, 0))
    return out


def sample_factors(
    class_factors: Matrix, noise_std: Matrix, n: int, rng: np.random.Generator
) -> Matrix:
    """Draw `n` rows `[n, d]` from factors `[n_factors + 2, d]` with residual std `noise_std`."""
    z = rng.standard_normal((n, len(class_factors) - 2))
    e = rng.standard_normal((n, len(noise_std)))
    return np.asarray(class_factors[0] + z @ class_factors[1:-1] + noise_std * e)


def pool_variance(class_factors: NDArray[Any], counts: NDArray[Any]) -> Matrix:
    """Return the within-class variance of each feature, `[d]`, pooled over the classes.

    Where no class has two rows, it is a hundredth of the mean variance between classes.

    Args:
        class_factors: Factors of each class, `[k, n_factors + 2, d]`.
        counts: Rows of each class, its weight in the pool, `[k]`.
    """
    present = counts > 0
    proportions = counts[present] / counts.sum()
    within = proportions @ np.sum(class_factors[present, 1:].astype(np.float64) ** 2, axis=1)
    if within.any():
        return np.asarray(within)
    return np.full(
        within.shape, 0.01 * float(class_factors[present, 0].var(0, dtype=np.float64).mean())
    )
