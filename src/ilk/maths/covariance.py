"""Shrinkage estimators of a pooled covariance, and its inverse.

All of it is float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.core.statistics import Statistics

Matrix = NDArray[np.float64]
Shrinkage = float | str | None
SHRINKAGE_RULES = ("oas", "ks")
ROUNDING = 2.0**-46  # squared float32 epsilon: a smaller variance, relative to the means', is 0


def oas_shrinkage(stats: Statistics, n_features: int | None = None) -> float:
    """Return the oracle approximating shrinkage intensity of the pooled covariance, in [0, 1].

    Chen, Wiesel, Eldar, Hero 2010, Shrinkage Algorithms for MMSE Covariance Estimation,
    doi:10.1109/TSP.2010.2053029, equation 23, in the large-d form that scikit-learn uses, with
    the degrees of freedom in place of the number of rows. `n_features` as in `estimate_covariance`.
    """
    s = stats.scatter / stats.degrees_of_freedom
    d = n_features or len(s)
    mu = np.trace(s) / d
    mean_square = float(np.vdot(s, s)) / d**2
    excess = (stats.degrees_of_freedom + 1) * (mean_square - mu**2 / d)
    return 1.0 if excess <= 0 else float(min(1.0, (mean_square + mu**2) / excess))


def shrink_covariance(stats: Statistics, shrinkage: float, n_features: int | None = None) -> Matrix:
    """Return the unbiased pooled covariance `[d, d]`, shrunk towards a multiple of the identity.

    A fraction `shrinkage` in [0, 1] is replaced by the multiple of the identity with the same
    trace. `n_features` as in `estimate_covariance`.
    """
    return _combine_terms(stats, *_shrinkage_terms(stats, shrinkage, n_features))


def check_shrinkage(shrink: Shrinkage) -> None:
    """Check a shrinkage hyperparameter.

    Raises:
        ValueError: If it is not a number from 0 to 1, "oas", "ks" or None.
    """
    is_rule = shrink is None or (isinstance(shrink, str) and shrink in SHRINKAGE_RULES)
    if not is_rule and not (isinstance(shrink, (int, float)) and 0 <= shrink <= 1):
        raise ValueError(f"shrink is {shrink!r}; allowed are 0 to 1, 'oas', 'ks' or None")


def estimate_covariance(
    stats: Statistics, shrink: Shrinkage = None, n_features: int | None = None
) -> Matrix:
    """Return the pooled covariance `[d, d]` after shrinkage.

    Args:
        stats: Statistics of the rows.
        shrink: Intensity in [0, 1], "oas" or "ks"; None is "ks".
        n_features: Number of features, where the statistics are those of coordinates in the span of
            the rows (see `RowSpan`).
    """
    return _combine_terms(stats, *compute_covariance_terms(stats, shrink, n_features))


def compute_covariance_terms(
    stats: Statistics, shrink: Shrinkage = None, n_features: int | None = None
) -> tuple[float, float]:
    """Return a and b of the covariance `a scatter + b I`; arguments as in `estimate_covariance`."""
    if isinstance(shrink, (int, float)):
        return _shrinkage_terms(stats, shrink, n_features)
    if shrink == "oas":
        return _shrinkage_terms(stats, oas_shrinkage(stats, n_features), n_features)
    # Theirs times D / (N - 1), so that scores are log-likelihoods on the scale of the priors.
    return 1 / max(1, stats.n - 1), _kubokawa_srivastava_trace(stats) / max(1, stats.n - 1)


def _shrinkage_terms(
    stats: Statistics, shrinkage: float, n_features: int | None
) -> tuple[float, float]:
    """Return a and b of the covariance shrunk towards a multiple of the identity."""
    total_variance = float(np.trace(stats.scatter)) / stats.degrees_of_freedom
    mean_variance = total_variance / (n_features or len(stats.scatter))
    if mean_variance <= ROUNDING * _between_class_variance(stats):
        mean_variance = _between_class_variance(stats)
    return (1 - shrinkage) / stats.degrees_of_freedom, shrinkage * mean_variance


def _combine_terms(stats: Statistics, scatter_factor: float, identity_factor: float) -> Matrix:
    """Return `scatter_factor * scatter + identity_factor * I`, `[d, d]`."""
    covariance = scatter_factor * stats.scatter
    covariance[np.diag_indices_from(covariance)] += identity_factor
    return np.asarray(covariance)


def kubokawa_srivastava(stats: Statistics, n_features: int | None = None) -> Matrix:
    """Return the empirical Bayes ridge covariance `((N - 1) S + tr(S) I) / D`, `[d, d]`.

    Kubokawa, Srivastava 2008, doi:10.1016/j.jmva.2008.01.016, as written in Wang et al. 2024,
    arXiv 2402.04087: S is the unbiased covariance of the N class-centred rows, D their width.
    """
    divisor = n_features or len(stats.scatter)
    return _combine_terms(stats, 1 / divisor, _kubokawa_srivastava_trace(stats) / divisor)


def _kubokawa_srivastava_trace(stats: Statistics) -> float:
    """Return the trace of S, or that of the class means where no class has two rows."""
    trace = float(np.trace(stats.scatter)) / max(1, stats.n - 1)
    between = stats.means.shape[1] * _between_class_variance(stats)
    return between if trace <= ROUNDING * between else trace


def has_scatter(stats: Statistics) -> bool:
    """Return whether rows of one class differ by more than rounding errors."""
    between = stats.means.shape[1] * _between_class_variance(stats)
    return bool(float(np.trace(stats.scatter)) / stats.degrees_of_freedom > ROUNDING * between)


def _between_class_variance(stats: Statistics) -> float:
    """Return the mean square of centred class means: a scale where no class has two rows."""
    centred_means = (stats.means - stats.centre)[stats.present]
    return float(np.mean(centred_means**2)) or 1.0


def solve(covariance: Matrix, right: Matrix) -> Matrix:
    """Return `covariance^-1 right`, `[d, m]`, for a covariance `[d, d]` that may be singular.

    A ridge of 1e-9 of the mean variance is added, times 10 until the Cholesky factor exists.
    """
    ridge = 1e-9 * max(float(np.trace(covariance)) / len(covariance), 1e-30)
    while True:
        ridged = covariance.copy()
        ridged[np.diag_indices_from(ridged)] += ridge
        try:
            root: Matrix = np.asarray(np.linalg.cholesky(ridged), np.float64)
        except np.linalg.LinAlgError:
            ridge *= 10
            continue
        return solve_triangular(root, solve_triangular(root, right), transposed=True)


def solve_triangular(root: Matrix, right: Matrix, *, transposed: bool = False) -> Matrix:
    """Return `root^-1 right`, or with `transposed` the inverse of `root'` times it, `[d, m]`.

    Args:
        root: Lower triangular, `[d, d]`.
        right: `[d, m]`.
        transposed: Use the transpose of `root`.
    """
    from scipy import linalg  # slow to import, and a saved classifier does without

    solution = linalg.solve_triangular(
        root, right, trans=1 if transposed else 0, lower=True, check_finite=False
    )
    return np.asarray(solution)
