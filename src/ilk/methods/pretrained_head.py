"""The encoder's own classifier, its probabilities summed over the classes of each name.

Jia Deng, Jonathan Krause, Alexander C. Berg, Li Fei-Fei, 2012, Hedging Your Bets: Optimizing
Accuracy-Specificity Trade-offs in Large Scale Visual Recognition, doi:10.1109/CVPR.2012.6248086,
section 3.

    score_c(x) = log (sum_{j below c} p_j(x) + p_outside(x) / k)

with p the softmax of the pretrained classifier, of which some lies outside all k classes.
(Departure: in the paper the classes are all leaves, so that nothing lies outside.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ilk.core.contracts import MethodTags, Model
from ilk.core.data import Data
from ilk.core.errors import InputError


@dataclass(frozen=True)
class PretrainedHead(MethodTags):
    """What the encoder's own classifier says of the class names; labels are ignored."""

    default_candidate = True
    fit_cost = 0.02
    supports_weights = True

    needs_class_model: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False

    def fit(self, data: Data) -> Model:
        if data.class_model is None:
            raise InputError(
                "PretrainedHead needs an encoder that knows every class by name, such as "
                "efficientnet-lite0 with names of ImageNet classes or of what lies above them"
            )
        model: Model = data.class_model
        return model
