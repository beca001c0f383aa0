"""Binary linear rules for many labels of the same rows, from one decomposition.

In principal axes the total scatter of the rows is diagonal, and the within-class scatter of a label
against the rest differs from it by one outer product:

    S_c = L - a d d',  a = n_1 n_0 / n,  d = mean_1 - mean_0

so that the Gaussian discriminant of every label follows from the Sherman-Morrison formula, and
ridge regression, whose hat matrix does not depend on the labels, from one product for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.linear_models import Linear
from ilk.maths.covariance import Shrinkage
from ilk.maths.iterative_stratification import Targets
from ilk.maths.leave_group_out import leave_group_out_residuals, list_members
from ilk.maths.pca import PrincipalAxes, fit_pca

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BinaryRules:
    """`(x - centre) @ weight.T + bias`, positive where a label is more likely than the rest.

    Attributes:
        centre: `[d]` float64.
        weight: `[k, d]` float64.
        bias: `[k]` float64.
    """

    centre: Matrix
    weight: Matrix
    bias: Matrix

    def to_models(self) -> tuple[Linear, ...]:
        """Return one model of two classes, the rest and the label, per label."""
        return tuple(
            Linear.from_centred(self.centre, np.stack([-w, w]) / 2, np.array([-b, b]) / 2)
            for w, b in zip(self.weight, self.bias, strict=True)
        )


def fit_label_discriminants(
    x: NDArray[Any], targets: Targets, shrink: Shrinkage = None, uniform: bool = False
) -> BinaryRules:
    """Return Gaussian discriminants with a covariance shared by label and rest.

    Args:
        x: Rows, `[n, d]`.
        targets: Whether each label applies, `[n, k]`; both values occur for every label.
        shrink: Shrinkage of the covariance, as in `ilk.maths.covariance.estimate_covariance`.
        uniform: Assume equal priors of label and rest.
    """
    pca, n = fit_pca(x), len(x)
    n_positive = targets.sum(0, dtype=np.float64)
    n_negative = n - n_positive
    sums = targets.T.astype(np.float64) @ pca.scores  # of the centred rows with the label, [k, r]
    difference = sums * (1 / n_positive + 1 / n_negative)[:, None]
    middle = sums * (1 / n_positive - 1 / n_negative)[:, None] / 2
    rank_one = n_positive * n_negative / n
    weight = np.empty_like(difference)
    for c, (d, a) in enumerate(zip(difference, rank_one, strict=True)):
        factor, ridge = _shrink_scatter(pca.eigenvalues, d, a, n, x.shape[1], shrink)
        inverse = 1 / (factor * pca.eigenvalues + ridge)
        shrunk = inverse * d
        weight[c] = shrunk / max(1 - factor * a * float(d @ shrunk), 1e-12)
    prior = np.zeros_like(n_positive) if uniform else np.log(n_positive / n_negative)
    bias = prior - np.einsum("kr,kr->k", weight, middle)
    return BinaryRules(pca.centre, weight @ pca.basis.T, bias)


def _shrink_scatter(
    eigenvalues: Matrix, d: Matrix, a: float, n: int, n_features: int, shrink: Shrinkage
) -> tuple[float, float]:
    """Return f and r of the shrunk covariance `f (L - a d d') + r I`, as `ilk.maths.covariance`."""
    trace = max(float(eigenvalues.sum() - a * (d @ d)), 1e-12 * float(eigenvalues.sum()))
    if shrink is None or shrink == "ks":
        return 1 / max(1, n - 1), trace / max(1, n - 1) ** 2
    freedom = max(1, n - 2)
    mean_variance = trace / freedom / n_features
    if shrink == "oas":
        square = np.sum(eigenvalues**2) - 2 * a * (d * eigenvalues) @ d + (a * (d @ d)) ** 2
        mean_square = float(square) / freedom**2 / n_features**2
        excess = (freedom + 1) * (mean_square - mean_variance**2 / n_features)
        shrink = 1.0 if excess <= 0 else min(1.0, (mean_square + mean_variance**2) / excess)
    intensity = float(shrink)
    return (1 - intensity) / freedom, intensity * mean_variance


def fit_label_ridge(
    x: NDArray[Any], targets: Targets, alphas: Matrix | float, group: Labels | None = None
) -> BinaryRules:
    """Return ridge regressions of the labels, each with the penalty of least leave-one-out error.

    Args:
        x: Rows, `[n, d]`.
        targets: Whether each label applies, `[n, k]`; both values occur for every label.
        alphas: Penalties to choose from, as multiples of the mean eigenvalue, or the one penalty.
        group: Group number of each row, `[n]`, from 0, which is left out as a whole; None makes
            every row one.
    """
    pca = fit_pca(x)
    prior = targets.mean(0)
    residual = targets - prior
    moment = pca.scores.T @ residual
    if isinstance(alphas, float):
        alpha = np.full(len(prior), alphas)
    else:
        scale = float(pca.eigenvalues.mean()) if pca.scores.size else 1.0
        members = None if group is None else list_members(group)
        errors = [_left_out_error(pca, residual, moment, scale * a, members) for a in alphas]
        alpha = scale * alphas[np.argmin(errors, axis=0)]
    weight = moment.T / (pca.eigenvalues + alpha[:, None])
    return BinaryRules(pca.centre, 2 * weight @ pca.basis.T, 2 * prior - 1)


def _left_out_error(
    pca: PrincipalAxes,
    residual: Matrix,
    moment: Matrix,
    alpha: float,
    members: list[Labels] | None = None,
) -> NDArray[np.float64]:
    """Return the summed squared leave-one-out error of each label, `[k]`, for one penalty.

    With `members`, the positions of the rows of each group, groups are left out.
    """
    shrunk = pca.eigenvalues + alpha
    if members is not None:
        fitted = residual - pca.scores @ (moment / shrunk[:, None])
        total = np.zeros(residual.shape[1])
        for rows in members:
            z, ones = pca.scores[rows].astype(np.float64), np.ones(len(rows))
            left_out = leave_group_out_residuals(
                z, fitted[rows][None], 1 / shrunk[None], float(len(residual)), ones
            )
            total += np.sum(left_out[0] ** 2, axis=0)
        return total
    leverage = 1 / len(residual) + (pca.scores**2) @ (1 / shrunk)
    error = residual - pca.scores @ (moment / shrunk[:, None])
    return np.asarray(np.sum((error / np.maximum(1 - leverage, 1e-12)[:, None]) ** 2, axis=0))
