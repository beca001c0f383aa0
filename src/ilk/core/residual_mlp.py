"""A classifier on an embedding that adds to the features what a small network learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features
from ilk.core.linear_models import MLP
from ilk.core.part_bounds import POSITIVE


@dataclass(frozen=True, eq=False)
class ResidualMLP(MLP):
    """`e(x) @ weight.T + bias` of `e(x) = (x - centre) / unit + branch_weight @ h(x)`.

    Attributes:
        branch_weight: Weights from the rectified hidden units h to the embedding, `[d, h]` float32.
        unit: Divisor of the centred features, > 0.
    """

    kind: ClassVar[str] = "residual_mlp"
    shapes: ClassVar[dict[str, str]] = MLP.shapes | {"weight": "k d", "branch_weight": "d h"}
    bounds = MLP.bounds | {"unit": POSITIVE}

    branch_weight: Features
    unit: float

    def compute_hidden(self, x: Features) -> NDArray[np.float64]:
        """Return the embedding `[n, d]` of features `[n, d]`."""
        branch = super().compute_hidden(x) @ self.branch_weight.T.astype(np.float64)
        return np.asarray((np.asarray(x, np.float64) - self.centre) / self.unit + branch)
