"""The diffusion classifier: the class under which a diffusion model denoises an image best.

Alexander C. Li, Mihir Prabhudesai, Shivam Duggal, Ellis Brown, Deepak Pathak, 2023, Your Diffusion
Model is Secretly a Zero-Shot Classifier, arXiv 2303.16203, equations 4 to 6.

    score_c(x) = - sum_j w_j |x - D(x + sigma_j n_j; sigma_j, c)|^2        n_j the same for all c

The encoder `diffusion-classifier:PATH` takes the errors; here they become logits. Errors of two
classes differ in their third digit, so a softmax of them as they are says 1/k of everything. They
are divided by how far classes lie apart on the images at hand (the z-score of Wang & Chen, 2025,
arXiv 2508.11330), which no label is needed for; what the labels say of it is left to calibration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.core.contracts import MethodTags
from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.core.linear_models import Linear
from ilk.maths.pca import weighted_mean


@dataclass(frozen=True)
class DiffusionClassifier(MethodTags):
    """Scores of a diffusion model, as logits.

    Attributes:
        scale: Factor of the scores after division by their mean deviation over classes, > 0.
    """

    default_candidate = True
    fit_cost = 0.1
    supports_weights = True

    needs_class_scores: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False

    scale: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.scale < np.inf:
            raise ValueError(f"scale is {self.scale}; it must be above 0 and finite")

    def fit(self, data: Data) -> Linear:
        if data.x.ndim != 2 or data.x.shape[1] != data.k:
            raise InputError(
                f"DiffusionClassifier reads one score a class, {data.k} of them, and got features "
                f"of shape {data.x.shape[1:]}; name it as --classifier diffusion:PATH"
            )
        data = data.take_weighted()
        deviation = np.std(np.asarray(data.x, np.float64), axis=1)
        spread = float(weighted_mean(deviation, data.sample_weight)) if len(data) else 0.0
        weight = np.eye(data.k) * (self.scale / spread if spread > 0 else self.scale)
        return Linear.from_arrays(weight, np.zeros(data.k))
