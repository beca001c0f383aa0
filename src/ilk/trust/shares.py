"""Class shares that are not those learnt with: probabilities under the shares of now.

Marco Saerens, Patrice Latinne, Christine Decaestecker, 2002, Adjusting the Outputs of a Classifier
to New a Priori Probabilities, doi:10.1162/089976602753284446, equation 2.4:

    p_now(c | x) ~ p(c | x) now_c / learnt_c
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.metrics import Probabilities

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Shares:
    """What probabilities are corrected by.

    Attributes:
        learnt: Share of each class that the probabilities take for granted, `[k]`, above 0.
        now: Share of each class to take in its place, `[k]`, above 0.
    """

    learnt: Vector
    now: Vector

    @property
    def ratio(self) -> Vector:
        """How many times as common each class is now, `[k]`."""
        return np.asarray(self.now / self.learnt)

    def corrected(self, p: Probabilities) -> Probabilities:
        """Probabilities `[n, k]` under the shares of now."""
        raw = p * self.ratio
        return np.asarray(raw / raw.sum(1, keepdims=True))

    def widened(self, learnt: Vector) -> Shares:
        """For more classes, the new ones as common as learnt, `[k + new]`."""
        ratio = np.append(self.ratio, np.ones(len(learnt) - len(self.learnt)))
        now = learnt * ratio
        return Shares(learnt, now / now.sum())
