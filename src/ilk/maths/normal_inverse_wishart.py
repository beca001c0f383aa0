"""The normal-inverse-Wishart prior: posterior, marginal likelihood and predictive distribution.

A normal-inverse-Wishart prior, `S ~ IW(psi, nu)`, `mean | S ~ N(0, S / kappa)` for rows centred at
0, is conjugate: for n rows with mean m and scatter C (Kevin P. Murphy, 2007, Conjugate Bayesian
analysis of the Gaussian distribution)

    kappa' = kappa + n,  nu' = nu + n,  mean' = n m / kappa',
    psi' = psi + C + (kappa n / kappa') m m'
    log p(rows) = -n r/2 log pi + log G_r(nu'/2) - log G_r(nu/2)
                  + nu/2 log|psi| - nu'/2 log|psi'| + r/2 log(kappa / kappa')

with G_r the multivariate gamma function without its constant; a new row has a Student
distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GroupStatistics:
    """Sufficient statistics of the rows of each of g groups.

    Attributes:
        counts: Number of rows, `[g]` float64.
        means: `[g, r]`; zeros for a group without rows.
        scatter: Sum of squares about the mean of the group, `[g, r, r]`.
    """

    counts: Matrix
    means: Matrix
    scatter: Matrix

    @classmethod
    def from_rows(cls, z: Matrix, assignment: Labels, n_groups: int) -> GroupStatistics:
        """Return the statistics of rows `z [n, r]` with groups `assignment [n]`."""
        r = z.shape[1]
        means, scatter = np.zeros((n_groups, r)), np.zeros((n_groups, r, r))
        for c in np.unique(assignment):
            part = z[assignment == c]
            means[c] = part.mean(0)
            scatter[c] = (part - means[c]).T @ (part - means[c])
        return cls(np.bincount(assignment, minlength=n_groups).astype(np.float64), means, scatter)

    def select(self, groups: Any) -> GroupStatistics:
        """Return the statistics of `groups` (positions), in that order."""
        return GroupStatistics(self.counts[groups], self.means[groups], self.scatter[groups])

    def merge_pairs(self, i: Labels, j: Labels) -> GroupStatistics:
        """Return groups `i [p]` merged with groups `j [p]` (Chan, Golub, LeVeque 1979)."""
        a, b = self.select(i), self.select(j)
        n, mean_difference = a.counts + b.counts, a.means - b.means
        means = (a.counts[:, None] * a.means + b.counts[:, None] * b.means) / n[:, None]
        between = (
            (a.counts * b.counts / n)[:, None, None]
            * mean_difference[:, :, None]
            * mean_difference[:, None, :]
        )
        return GroupStatistics(n, means, a.scatter + b.scatter + between)


@dataclass(frozen=True, eq=False)
class NormalInverseWishart:
    """Prior of the mean and covariance of a class.

    Attributes:
        kappa: Within-class variance over the variance of class means, > 0.
        nu: Degrees of freedom, above r + 1: larger for more similar class covariances.
        psi: `nu - r - 1` times the expected covariance, `[r, r]`.
    """

    kappa: float
    nu: float
    psi: Matrix

    @property
    def expected_covariance(self) -> Matrix:
        """Expected within-class covariance, `[r, r]`."""
        return self.psi / (self.nu - len(self.psi) - 1)

    def compute_log_evidence(self, groups: GroupStatistics) -> Matrix:
        """Return the log marginal likelihood of the rows of each group, `[g]`."""
        r, n = len(self.psi), groups.counts
        kappa, nu, _, psi = self._compute_posterior(groups)
        return np.asarray(
            -0.5 * n * r * np.log(np.pi)
            + _log_multigamma(nu, r)
            - _log_multigamma(np.full(1, self.nu), r)
            + 0.5 * self.nu * np.linalg.slogdet(self.psi)[1]
            - 0.5 * nu * np.linalg.slogdet(psi)[1]
            + 0.5 * r * np.log(self.kappa / kappa)
        )

    def compute_predictive(self, groups: GroupStatistics) -> tuple[Matrix, Matrix, Matrix, Matrix]:
        """Return the parameters of the predictive Student distribution of each group.

        They are those of `student_log_pdf`: mean `[g, r]`, whitening `[g, r, r]`, degrees of
        freedom `[g]` and log constant `[g]`.
        """
        from scipy.special import gammaln

        r = len(self.psi)
        kappa, nu, mean, psi = self._compute_posterior(groups)
        degrees = nu - r + 1
        factor = np.linalg.cholesky(psi * ((kappa + 1) / (kappa * degrees))[:, None, None])
        log_size = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(1)
        constant = gammaln((degrees + r) / 2) - gammaln(degrees / 2)
        constant -= 0.5 * r * np.log(np.pi * degrees) + log_size
        return mean, np.linalg.inv(factor).transpose(0, 2, 1), degrees, constant

    def _compute_posterior(self, groups: GroupStatistics) -> tuple[Matrix, Matrix, Matrix, Matrix]:
        n, mean = groups.counts, groups.means
        kappa = self.kappa + n
        mean_shift = (self.kappa * n / kappa)[:, None, None] * mean[:, :, None] * mean[:, None, :]
        return (
            kappa,
            self.nu + n,
            (n / kappa)[:, None] * mean,
            self.psi + groups.scatter + mean_shift,
        )


def fit_prior(groups: GroupStatistics, expected_covariance: Matrix) -> NormalInverseWishart:
    """Return the prior with the largest marginal likelihood of the groups (empirical Bayes).

    The expected covariance is fixed at `expected_covariance [r, r]`; kappa and nu are searched on a
    grid.
    """
    r = len(expected_covariance)
    grid = [
        NormalInverseWishart(float(kappa), r + 1 + float(more), more * expected_covariance)
        for kappa in np.geomspace(1e-3, 1, 7)
        for more in np.geomspace(1, 1000, 10)
    ]
    return max(grid, key=lambda prior: float(prior.compute_log_evidence(groups).sum()))


def student_log_pdf(
    z: Matrix, mean: Matrix, whitening: Matrix, degrees: Matrix, constant: Matrix
) -> NDArray[np.float64]:
    """Return the log density of rows under g Student distributions, `[n, g]`.

    Args:
        z: Rows, `[n, r]`.
        mean: `[g, r]`.
        whitening: Inverse transposed Cholesky factors of the scale matrices, `[g, r, r]`.
        degrees: Degrees of freedom, `[g]`.
        constant: Log normalization constants, `[g]`.
    """
    out = np.empty((len(z), len(mean)))
    for c in range(len(mean)):
        u = (z - mean[c]) @ whitening[c]
        scaled_distance = np.einsum("nr,nr->n", u, u) / degrees[c]
        out[:, c] = constant[c] - 0.5 * (degrees[c] + z.shape[1]) * np.log1p(scaled_distance)
    return out


def _log_multigamma(nu: Matrix, r: int) -> Matrix:
    """Return the log multivariate gamma function at nu / 2, without its power of pi."""
    from scipy.special import gammaln

    return np.asarray(gammaln((nu[:, None] - np.arange(r)) / 2).sum(1))
