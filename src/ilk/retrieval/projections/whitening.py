"""Whitening: directions in which all images vary alike count alike.

Hervé Jégou, Ondřej Chum, 2012, Negative Evidences and Co-occurences in Image Retrieval: The Benefit
of PCA and Whitening, doi:10.1007/978-3-642-33709-3_55. With S the covariance of unit rows, shrunk
towards a multiple of the identity,

    S = (1 - s) cov(u) + s tr(cov(u)) / d I,   z = S^(-1/2) (u - mean)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.core.data import Features, Labels
from ilk.maths.whitening import shrink_to_identity, take_inverse_root
from ilk.retrieval.vectors.projection import Projection, ProjectionTags


@dataclass(frozen=True)
class Whitening(ProjectionTags):
    """Covariance of all rows.

    Attributes:
        shrink: s, in [0, 1]; 1 only centres.
    """

    needs_labels: ClassVar[bool] = False

    shrink: float = 0.1

    def fit(self, x: Features, y: Labels) -> Projection:
        """Return the projection of unit rows `[n, d]`; classes `[n]` are not used."""
        rows = np.asarray(x, np.float64)
        centre = rows.mean(0)
        rows = rows - centre
        root = take_inverse_root(shrink_to_identity(rows.T @ rows / len(rows), self.shrink))
        return Projection(centre.astype(np.float32), root.astype(np.float32))
