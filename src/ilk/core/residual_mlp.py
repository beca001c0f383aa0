"""A classifier on an embedding that adds to the features what a small network learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features, Logits
from ilk.core.linear_models import MLP, apply_affine
from ilk.core.part_bounds import POSITIVE, Bounds


@dataclass(frozen=True, eq=False)
class ResidualMLP:
    """`e(x) @ weight.T + bias` of the embedding `e(x) = (x - centre) / unit + branch(x)`.

    Attributes:
        branch: Network from features to what is added to them, `[n, d]`; its classes are features.
        unit: Divisor of the centred features, `[1]` float32, > 0.
        weight: `[k, d]` float32.
        bias: `[k]` float32; `-inf` for a class without training rows.
    """

    kind: ClassVar[str] = "residual_mlp"
    shapes: ClassVar[dict[str, str]] = {"unit": "1", "weight": "k d", "bias": "k"}
    bounds: ClassVar[dict[str, Bounds]] = {"unit": POSITIVE}

    branch: MLP
    unit: Features
    weight: Features
    bias: Features

    def compute_hidden(self, x: Features) -> NDArray[np.float64]:
        """Return the embedding `[n, d]` of features `[n, d]`."""
        centred = (np.asarray(x, np.float64) - self.branch.centre) / self.unit
        return np.asarray(centred + self.branch.logits(x))

    def logits(self, x: Features) -> Logits:
        """Return scores `[n, k]`, float64."""
        return apply_affine(self.compute_hidden(x), self.weight, self.bias)
