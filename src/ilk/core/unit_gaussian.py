"""Gaussians with a shared covariance on rows of unit length, with the statistics they rest on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features, Logits
from ilk.core.linear_models import apply_affine, normalize_rows
from ilk.core.statistics import Statistics


@dataclass(frozen=True, eq=False)
class UnitGaussian:
    """`u @ weight.T + bias` with `u` the direction of `x / |x| - centre`.

    Class statistics of raw rows do not give those of their directions, so the model has its own,
    from which it is extended and left-out rows are scored.

    Attributes:
        centre: Subtracted from unit rows, which are scaled to unit length again, `[d]` float32.
        weight: `[k, d]` float32.
        bias: `[k]` float32, `-inf` for a class without rows.
        counts: Rows of each class, or their total weight, `[k]`.
        means: Class means of the directions, `[k, d]` float32.
        residuals: Rows whose products sum to the within-class scatter, `[m, d]` float32, m <= d.
    """

    kind: ClassVar[str] = "unit_gaussian"
    shapes: ClassVar[dict[str, str]] = {
        "centre": "d",
        "weight": "k d",
        "bias": "k",
        "counts": "k",
        "means": "k d",
        "residuals": "m d",
    }

    centre: Features
    weight: Features
    bias: Features
    counts: NDArray[Any]
    means: Features
    residuals: Features

    def logits(self, x: Features) -> Logits:
        """Return scores `[n, k]`, float64; a row at the centre gets the bias alone."""
        return apply_affine(x, self.weight, self.bias, transform=self.normalize)

    def normalize(self, x: Features) -> NDArray[np.float64]:
        """Return the directions `[n, d]` of unit features `[n, d]` from the centre."""
        return normalize_about(x, self.centre)

    @property
    def statistics(self) -> Statistics:
        """Counts, means and scatter of the directions."""
        rows = self.residuals.astype(np.float64)
        return Statistics(self.counts, self.means.astype(np.float64), rows.T @ rows)


def normalize_about(x: Any, centre: Any) -> NDArray[np.float64]:
    """Return the directions `[n, d]` of rows `[n, d]` of unit length from `centre [d]`."""
    return np.asarray(normalize_rows(normalize_rows(x) - centre))
