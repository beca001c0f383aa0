"""Ridge regression of one-hot labels from class statistics, with errors of parts in closed form.

With total scatter T = W + sum_c n_c (m_c - m)(m_c - m)' = V L V' (W within classes) and priors p,
the regression of one-hot labels on x - m is B = Y'X (T + alpha I)^-1 with row c of Y'X equal to
n_c (m_c - m)'. Its squared error on other rows needs their statistics alone:

    sum_i |e_yi - p - B (x_i - m)|^2
        = sum_c n_c' |e_c - p - B (m_c' - m)|^2 + tr(B W' B')

so that the penalty is chosen by exact cross-validation over parts without another pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels, one_hot
from ilk.core.statistics import Statistics
from ilk.maths.gaussian import subtract_statistics
from ilk.maths.leave_group_out import leave_group_out_residuals, list_members
from ilk.maths.pca import select_axes

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StreamedRidge:
    """The regressions of all penalties on rows that only their statistics describe.

    Attributes:
        centre: Mean row, `[d]`.
        basis: Principal axes, `[d, r]`.
        eigenvalues: Sum of squares along each, `[r]`.
        prior: Class frequencies, `[k]`.
        moment: Centred products of scores and labels, `[r, k]`.
        n: Number of rows.
    """

    centre: Matrix
    basis: Matrix
    eigenvalues: Matrix
    prior: Matrix
    moment: Matrix
    n: float

    @classmethod
    def from_statistics(cls, stats: Statistics) -> StreamedRidge:
        """Return the regressions of the rows that `stats` describe."""
        centre = stats.centre
        centred = np.where(stats.present[:, None], stats.means - centre, 0.0)
        total = stats.scatter + (stats.counts[:, None] * centred).T @ centred
        eigenvalues, vectors = np.linalg.eigh(total)
        kept = select_axes(eigenvalues)
        basis = vectors[:, kept]
        moment = basis.T @ (stats.counts[:, None] * centred).T
        return cls(centre, basis, eigenvalues[kept], stats.counts / stats.n, moment, stats.n)

    @property
    def scale(self) -> float:
        """The mean eigenvalue, of which penalties are multiples."""
        return float(self.eigenvalues.mean()) if len(self.eigenvalues) else 1.0

    def compute_weight(self, alpha: float) -> Matrix:
        """Return the weights of a penalty, `[k, d]`."""
        return np.asarray((self.moment.T / (self.eigenvalues + alpha)) @ self.basis.T)

    def compute_errors(self, alphas: Matrix, held_out: Statistics) -> Matrix:
        """Return the summed squared error of each penalty `[a]` on other rows, `[a]`."""
        present = held_out.present
        z = np.where(present[:, None], held_out.means - self.centre, 0.0) @ self.basis
        within = self.basis.T @ held_out.scatter @ self.basis
        targets, errors = np.eye(len(self.prior)) - self.prior, np.zeros(len(alphas))
        for i, alpha in enumerate(alphas):
            slopes = self.moment.T / (self.eigenvalues + alpha)
            residual = targets - z @ slopes.T
            errors[i] = held_out.counts @ (residual**2).sum(1) + np.vdot(slopes @ within, slopes)
        return errors

    def compute_residuals(
        self, alpha: float, x: NDArray[np.floating], y: Labels, group: Labels | None = None
    ) -> Matrix:
        """Return residuals `[m, k]` of rows that the regression was fitted to, each left out.

        Args:
            alpha: The penalty.
            x: Features, `[m, d]`.
            y: Classes, `[m]`.
            group: Group number of each, `[m]`, from 0, all of whose rows are among these and are
                left out together; None leaves out one row at a time.
        """
        z = (np.asarray(x, np.float64) - self.centre) @ self.basis
        inverse = 1 / (self.eigenvalues + alpha)
        residual = one_hot(y, len(self.prior)) - self.prior - (z * inverse) @ self.moment
        if group is None:
            leverage = 1 / self.n + (z * z) @ inverse
            return np.asarray(residual / np.maximum(1 - leverage, 1e-12)[:, None])
        for rows in list_members(group):
            residual[rows] = leave_group_out_residuals(
                z[rows], residual[None, rows], inverse[None], self.n, np.ones(len(rows))
            )[0]
        return np.asarray(residual)


def choose_penalty(
    total: Statistics, parts: Sequence[Statistics], multiples: Matrix
) -> float | None:
    """Return the multiple of the mean eigenvalue with the least error on left-out parts.

    Args:
        total: Statistics of all rows.
        parts: Statistics of disjoint parts; those with rows are left out in turn.
        multiples: Penalties, as multiples of the mean eigenvalue, `[m]`.

    Returns:
        One of `multiples`; None where fewer than two parts have rows.
    """
    used = [part for part in parts if part.n > 0]
    if len(used) < 2:
        return None
    errors = np.zeros(len(multiples))
    for part in used:
        rest = StreamedRidge.from_statistics(subtract_statistics(total, part))
        errors += rest.compute_errors(rest.scale * multiples, part)
    return float(multiples[np.argmin(errors)])
