"""The mean of all unit rows is taken away, so that what all images share counts no more.

Jiaqi Mu, Pramod Viswanath, 2018, All-but-the-Top: Simple and Effective Postprocessing for Word
Representations, arXiv 1702.01417, step 1 (departure: no principal axes are removed).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.core.data import Features, Labels
from ilk.retrieval.vectors.projection import Projection, ProjectionTags


@dataclass(frozen=True)
class Centring(ProjectionTags):
    """`u - mean`."""

    needs_labels: ClassVar[bool] = False

    def fit(self, x: Features, y: Labels) -> Projection:
        """Return the projection of unit rows `[n, d]`; classes `[n]` are not used."""
        return Projection(
            x.mean(0, dtype=np.float64).astype(np.float32), np.eye(x.shape[1], dtype=np.float32)
        )
