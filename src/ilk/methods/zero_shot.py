"""Zero-shot: the class whose name, read by the encoder's text side, lies nearest in angle.

Alec Radford et al., 2021, Learning Transferable Visual Models From Natural Language Supervision,
arXiv 2103.00020, section 3.1.

    score_c(x) = scale * cos(x, t_c)   with t_c the text embedding of class c
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.data import Data
from ilk.models import Facts, UnitLinear, hinted, unit_rows


@dataclass(frozen=True)
class ZeroShot(Facts):
    """Cosine to the class hints; labels are not looked at.

    Attributes:
        scale: Factor of the cosines, > 0; CLIP learnt 100, the inverse of its temperature.
    """

    board = True

    needs_hints: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False

    scale: float = 100.0

    def __post_init__(self) -> None:
        if not 0 < self.scale < np.inf:
            raise ValueError(f"scale is {self.scale}; it must be above 0 and finite")

    def fit(self, data: Data) -> UnitLinear:
        weight = self.scale * unit_rows(hinted(data, self))
        return UnitLinear(weight.astype(np.float32), np.zeros(data.k, np.float32))
