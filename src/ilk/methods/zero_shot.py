"""Zero-shot classification by cosine similarity to the text embedding of the class name.

Alec Radford et al., 2021, Learning Transferable Visual Models From Natural Language Supervision,
arXiv 2103.00020, section 3.1.

    score_c(x) = scale * cos(x, t_c)   with t_c the text embedding of class c
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.core.contracts import MethodTags, class_embeddings_of
from ilk.core.data import Data
from ilk.core.linear_models import NormalizedLinear, normalize_rows


@dataclass(frozen=True)
class ZeroShot(MethodTags):
    """Cosine similarity to the class embeddings; labels are ignored.

    Attributes:
        scale: Inverse temperature of the cosines, > 0; 100 is CLIP's.
    """

    default_candidate = True
    fit_cost = 0.02
    supports_weights = True

    needs_class_embeddings: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False

    scale: float = 100.0

    def __post_init__(self) -> None:
        if not 0 < self.scale < np.inf:
            raise ValueError(f"scale is {self.scale}; it must be above 0 and finite")

    def fit(self, data: Data) -> NormalizedLinear:
        weight = self.scale * normalize_rows(class_embeddings_of(data, self))
        return NormalizedLinear(weight.astype(np.float32), np.zeros(data.k, np.float32))
