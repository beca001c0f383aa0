"""Class statistics: counts, means and within-class scatter of labelled rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Statistics:
    """Sufficient statistics of labelled rows for Gaussians with a shared covariance.

    Attributes:
        counts: Rows per class, `[k]` int64; float64 total weights where rows are weighted.
        means: Class means, `[k, d]` float64; zeros for a class without rows.
        scatter: Within-class scatter, the sum over rows of `(x - mean[y]) (x - mean[y])'`,
            `[d, d]` float64, or only its diagonal, `[d]`.
    """

    counts: NDArray[Any]
    means: Matrix
    scatter: Matrix

    @property
    def n(self) -> float:
        """Number of rows, or their total weight."""
        total = float(self.counts.sum())
        return round(total) if total > 0.5 and abs(total - round(total)) < 1e-6 else total

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which classes have rows, `[k]`."""
        return self.counts > 0

    @property
    def degrees_of_freedom(self) -> float:
        """Degrees of freedom of the scatter: rows minus classes with rows, at least 1."""
        return max(1, self.n - int(self.present.sum()))

    @property
    def centre(self) -> Matrix:
        """Mean of all rows, `[d]`; zeros without rows."""
        return np.asarray(self.counts @ self.means / (self.n or 1))
