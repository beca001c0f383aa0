"""A multilayer perceptron with several hidden layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features
from ilk.core.linear_models import MLP, apply_affine


@dataclass(frozen=True, eq=False)
class DeepMLP(MLP):
    """An `MLP` with further hidden ReLU layers of the same width after the first.

    Attributes:
        trunk_weight: Weights of the further layers, `[l, h, h]` float32.
        trunk_bias: Their biases, `[l, h]` float32.
    """

    kind: ClassVar[str] = "deep_mlp"
    shapes: ClassVar[dict[str, str]] = MLP.shapes | {"trunk_weight": "l h h", "trunk_bias": "l h"}

    trunk_weight: Features
    trunk_bias: Features

    def compute_hidden(self, x: Features) -> NDArray[np.float64]:
        """Return the units of the last hidden layer `[n, h]`, at least 0, of features `[n, d]`."""
        hidden = super().compute_hidden(x)
        for weight, bias in zip(self.trunk_weight, self.trunk_bias, strict=True):
            hidden = np.maximum(apply_affine(hidden, weight, bias), 0)
        return hidden
