"""Grad-CAM: channels of a layer, weighted by the mean gradient of the answer.

Ramprasaath R. Selvaraju and others, 2017, Grad-CAM, arXiv 1610.02391, equations 1 and 2:

    a_k = mean over places of  d f / d A_k,     S = ReLU(sum_k a_k A_k)

f is the log-odds of the answer. The layer is the last one with places; `auto` compares it with the
stage before, whose grid is finer.
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
class GradCam(StageExplainer):
    """Grad-CAM.

    Attributes:
        stage: 0 for the last stage with places, 1 for the one before, at least 0.
    """

    name: ClassVar[str] = "grad-cam"
    paper: ClassVar[str] = "Selvaraju and others 2017"

    def explain(self, subject: Subject, seed: int, /) -> Map:
        """Return the weighted sum of the channels where it is positive, else 0."""
        return weigh_activations(subject, self.name, self.stage, weigh_channels)


def weigh_channels(outputs: Array, gradients: Array) -> Array:
    """Return `ReLU(sum_k mean(g_k) A_k)`, `[h, w]`, of outputs and gradients `[c, h, w]`."""
    weights = gradients.mean((1, 2))
    return np.asarray(np.maximum(np.tensordot(weights, outputs, 1), 0), np.float32)
