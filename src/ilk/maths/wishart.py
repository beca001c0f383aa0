"""Gaussians whose mean and covariance are unknown: what rows say of them, and whether rows are one.

A normal-inverse-Wishart prior, `S ~ IW(psi, nu)`, `mean | S ~ N(0, S / kappa)` for rows centred at
0, is conjugate: of n rows with mean m and scatter C (Kevin P. Murphy, 2007, Conjugate Bayesian
analysis of the Gaussian distribution)

    kappa' = kappa + n,  nu' = nu + n,  mean' = n m / kappa',
    psi' = psi + C + (kappa n / kappa') m m'
    log p(rows) = -n r/2 log pi + log G_r(nu'/2) - log G_r(nu/2)
                  + nu/2 log|psi| - nu'/2 log|psi'| + r/2 log(kappa / kappa')

with G_r the multivariate gamma function less its constant; a new row is Student-distributed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from ilk.data import Labels

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Members:
    """What a Gaussian needs to know of the rows of each of g groups.

    Attributes:
        counts: Rows, `[g]` float64.
        means: `[g, r]`; zeros where there is no row.
        scatter: Sum of the squares about the group's own mean, `[g, r, r]`.
    """

    counts: Matrix
    means: Matrix
    scatter: Matrix

    @classmethod
    def of(cls, z: Matrix, answer: Labels, groups: int) -> Members:
        """Of rows `z [n, r]` and the group of each, `[n]`."""
        r = z.shape[1]
        means, scatter = np.zeros((groups, r)), np.zeros((groups, r, r))
        for c in np.unique(answer):
            part = z[answer == c]
            means[c] = part.mean(0)
            scatter[c] = (part - means[c]).T @ (part - means[c])
        return cls(np.bincount(answer, minlength=groups).astype(np.float64), means, scatter)

    def at(self, groups: Any) -> Members:
        """These groups alone, in that order."""
        return Members(self.counts[groups], self.means[groups], self.scatter[groups])

    def merged(self, i: Labels, j: Labels) -> Members:
        """Groups i and j, pair by pair, as one (Chan, Golub, LeVeque 1979)."""
        a, b = self.at(i), self.at(j)
        n, off = a.counts + b.counts, a.means - b.means
        means = (a.counts[:, None] * a.means + b.counts[:, None] * b.means) / n[:, None]
        apart = (a.counts * b.counts / n)[:, None, None] * off[:, :, None] * off[:, None, :]
        return Members(n, means, a.scatter + b.scatter + apart)


@dataclass(frozen=True, eq=False)
class Prior:
    """What a class looks like before one row of it is seen.

    Attributes:
        kappa: Variance within a class over that of the classes' means, > 0.
        nu: Degrees of freedom, above r + 1: how much alike the covariances of classes are.
        psi: `nu - r - 1` times the covariance that is expected, `[r, r]`.
    """

    kappa: float
    nu: float
    psi: Matrix

    @property
    def within(self) -> Matrix:
        """The covariance that is expected within a class, `[r, r]`."""
        return self.psi / (self.nu - len(self.psi) - 1)

    def evidence(self, seen: Members) -> Matrix:
        """Log of the probability of each group's rows, `[g]`."""
        r, n = len(self.psi), seen.counts
        kappa, nu, _, psi = self._posterior(seen)
        return np.asarray(
            -0.5 * n * r * np.log(np.pi)
            + _log_gamma(nu, r)
            - _log_gamma(np.full(1, self.nu), r)
            + 0.5 * self.nu * np.linalg.slogdet(self.psi)[1]
            - 0.5 * nu * np.linalg.slogdet(psi)[1]
            + 0.5 * r * np.log(self.kappa / kappa)
        )

    def predictive(self, seen: Members) -> tuple[Matrix, Matrix, Matrix, Matrix]:
        """Mean, whitening, degrees of freedom and log constant of the next row of each group.

        As `student` takes them: `[g, r]`, `[g, r, r]`, `[g]`, `[g]`.
        """
        r = len(self.psi)
        kappa, nu, mean, psi = self._posterior(seen)
        freedom = nu - r + 1
        factor = np.linalg.cholesky(psi * ((kappa + 1) / (kappa * freedom))[:, None, None])
        log_size = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(1)
        constant = gammaln((freedom + r) / 2) - gammaln(freedom / 2)
        constant -= 0.5 * r * np.log(np.pi * freedom) + log_size
        return mean, np.linalg.inv(factor).transpose(0, 2, 1), freedom, constant

    def _posterior(self, seen: Members) -> tuple[Matrix, Matrix, Matrix, Matrix]:
        n, mean = seen.counts, seen.means
        kappa = self.kappa + n
        pulled = (self.kappa * n / kappa)[:, None, None] * mean[:, :, None] * mean[:, None, :]
        return kappa, self.nu + n, (n / kappa)[:, None] * mean, self.psi + seen.scatter + pulled


def likeliest(seen: Members, within: Matrix) -> Prior:
    """The prior under which these groups are likeliest (empirical Bayes), on a grid.

    Covariances are expected to be `within [r, r]`; kappa and nu are looked for.
    """
    r = len(within)
    grid = [
        Prior(float(kappa), r + 1 + float(more), more * within)
        for kappa in np.geomspace(1e-3, 1, 7)
        for more in np.geomspace(1, 1000, 10)
    ]
    return max(grid, key=lambda prior: float(prior.evidence(seen).sum()))


def student(
    z: Matrix, mean: Matrix, whiten: Matrix, freedom: Matrix, constant: Matrix
) -> NDArray[np.float64]:
    """Log density of rows `z [n, r]` under g Student distributions, `[n, g]`."""
    out = np.empty((len(z), len(mean)))
    for c in range(len(mean)):
        u = (z - mean[c]) @ whiten[c]
        far = np.einsum("nr,nr->n", u, u) / freedom[c]
        out[:, c] = constant[c] - 0.5 * (freedom[c] + z.shape[1]) * np.log1p(far)
    return out


def _log_gamma(nu: Matrix, r: int) -> Matrix:
    """Log of the multivariate gamma function at nu / 2, without its power of pi."""
    return np.asarray(gammaln((nu[:, None] - np.arange(r)) / 2).sum(1))
