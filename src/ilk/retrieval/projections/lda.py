"""Linear discriminant analysis: whitened within classes, directions between classes come first.

R. A. Fisher, 1936, The Use of Multiple Measurements in Taxonomic Problems; C. R. Rao, 1948. For
retrieval: Filip Radenović, Giorgos Tolias, Ondřej Chum, 2018, Fine-tuning CNN Image Retrieval with
No Human Annotation, arXiv 1711.02512, section 3.3 (learned whitening). With W the covariance within
classes, shrunk towards a multiple of the identity, and V the eigenvectors of the covariance B of
whitened class means in descending order of eigenvalues,

    z = V' W^(-1/2) (u - mean)

All axes are kept by default, because classes that were not seen may differ in any of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilk.core.data import Features, Labels
from ilk.maths.whitening import shrink_to_identity, take_inverse_root
from ilk.retrieval.vectors.projection import Projection, ProjectionTags


@dataclass(frozen=True)
class LDA(ProjectionTags):
    """Covariance within classes.

    Attributes:
        shrink: s, in [0, 1].
        axes: Number of axes that are kept, those between classes first; None keeps all.
    """

    shrink: float = 0.1
    axes: int | None = None

    def fit(self, x: Features, y: Labels) -> Projection:
        """Return the projection of unit rows `[n, d]` of classes `[n]`."""
        rows = np.asarray(x, np.float64)
        centre = rows.mean(0)
        _, group = np.unique(y, return_inverse=True)
        counts = np.bincount(group)
        means = np.zeros((len(counts), rows.shape[1]))
        np.add.at(means, group, rows)
        means /= counts[:, None]
        rest = rows - means[group]
        root = take_inverse_root(shrink_to_identity(rest.T @ rest / len(rows), self.shrink))
        between = (means - centre) @ root
        _, axes = np.linalg.eigh((between * counts[:, None]).T @ between)
        weight = root @ axes[:, ::-1][:, : self.axes]
        return Projection(centre.astype(np.float32), weight.astype(np.float32))
