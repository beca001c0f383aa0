"""Adjust calibrated probabilities to class priors that differ from those of training.

Marco Saerens, Patrice Latinne, Christine Decaestecker, 2002, Adjusting the Outputs of a Classifier
to New a Priori Probabilities, doi:10.1162/089976602753284446, equation 2.4:

    p_target(c | x) ~ p(c | x) target_c / source_c
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.metrics import Probabilities
from ilk.core.part_bounds import POSITIVE, Bounds

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ClassPriors:
    """Class priors that probabilities imply, and those that replace them.

    Attributes:
        source: Priors that the probabilities imply, `[k]`, > 0.
        target: Priors at prediction time, `[k]`, > 0.
    """

    kind: ClassVar[str] = "class_priors"
    shapes: ClassVar[dict[str, str]] = {"source": "k", "target": "k"}
    bounds: ClassVar[dict[str, Bounds]] = {"source": POSITIVE, "target": POSITIVE}

    source: Vector
    target: Vector

    @property
    def ratio(self) -> Vector:
        """Target over source prior of each class, `[k]`."""
        return np.asarray(self.target / self.source)

    def adjust(self, p: Probabilities) -> Probabilities:
        """Return probabilities `[n, k]` under the target priors."""
        unnormalized = p * self.ratio
        return np.asarray(unnormalized / unnormalized.sum(1, keepdims=True))

    def extend(self, source: Vector) -> ClassPriors:
        """Return the priors of more classes, with ratio 1 for the further ones.

        Args:
            source: Source priors of all classes, `[k + new]`; the first k keep their ratio.
        """
        ratio = np.append(self.ratio, np.ones(len(source) - len(self.source)))
        target = source * ratio
        return ClassPriors(source, target / target.sum())
