"""Gradient times token: at each place of a layer, the output times its gradient, summed.

Rachel Lea Draelos, Lawrence Carin, 2020, Use HiResCAM instead of Grad-CAM, arXiv 2011.08891,
equation 4, for convolutional layers; for a transformer the places are its tokens.

    S_ij = sum_k  A_k,ij  d f / d A_k,ij

f is the log-odds of the answer, linear in the head's input where the head is linear. If nothing but
a mean over places and a linear head follows the layer, the sum of the map is that part of f.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.explain.activations import Array
from ilk.explain.contract import Map
from ilk.explain.gradient_maps import StageExplainer, weigh_activations
from ilk.explain.subject import Subject


@dataclass(frozen=True)
class GradientToken(StageExplainer):
    """Gradient times token.

    Attributes:
        stage: 0 for the last stage with places, 1 for the one before, at least 0.
    """

    name: ClassVar[str] = "gradient-token"
    paper: ClassVar[str] = "Draelos and Carin 2020"

    def explain(self, subject: Subject, seed: int, /) -> Map:
        """Return the products, summed over channels: negative where a place speaks against."""
        return weigh_activations(subject, self.name, self.stage, multiply)


def multiply(outputs: Array, gradients: Array) -> Array:
    """Return `sum_k A_k g_k`, `[h, w]`, of outputs and gradients `[c, h, w]`."""
    return np.asarray((outputs * gradients).sum(0), np.float32)
