"""A classifier on an embedding that adds to the features what a small network learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features, Logits
from ilk.core.linear_models import MLP, apply_affine
from ilk.core.part_bounds import NON_NEGATIVE, POSITIVE


@dataclass(frozen=True, eq=False)
class ResidualMLP(MLP):
    """`e(x, own_strength) @ weight.T + bias` of the embedding

        e(x, strength) = (x - centre) / unit + strength * branch_weight @ h(x)

    Attributes:
        branch_weight: Weights from the rectified hidden units h to the embedding, `[d, h]` float32.
        unit: Divisor of the centred features, > 0.
        strength: Factor of the branch where other classes are embedded, >= 0.
        own_strength: Factor of the branch where the classes of the output layer are scored, >= 0.
    """

    kind: ClassVar[str] = "residual_mlp"
    shapes: ClassVar[dict[str, str]] = MLP.shapes | {"weight": "k d", "branch_weight": "d h"}
    bounds = MLP.bounds | {
        "unit": POSITIVE,
        "strength": NON_NEGATIVE,
        "own_strength": NON_NEGATIVE,
    }

    branch_weight: Features
    unit: float
    strength: float = 1.0
    own_strength: float = 1.0

    def embed(self, x: Features, strength: float) -> NDArray[np.float64]:
        """Return the embedding `[n, d]` of features `[n, d]` with the branch times `strength`."""
        branch = super().compute_hidden(x) @ self.branch_weight.T.astype(np.float64)
        return np.asarray((np.asarray(x, np.float64) - self.centre) / self.unit + strength * branch)

    def compute_hidden(self, x: Features) -> NDArray[np.float64]:
        """Return the embedding `[n, d]` of features `[n, d]`, for rows of any classes."""
        return self.embed(x, self.strength)

    def logits(self, x: Features) -> Logits:
        """Return scores `[n, k]`, float64."""
        return apply_affine(self.embed(x, self.own_strength), self.weight, self.bias)
