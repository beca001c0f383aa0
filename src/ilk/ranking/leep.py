"""LEEP: how well labels can be predicted from the network's own classifier.

Cuong V. Nguyen, Tal Hassner, Matthias Seeger, Cedric Archambeau, 2020, LEEP: A New Measure to
Evaluate Transferability of Learned Representations, arXiv 2002.12462, equations 1 and 2.

    P(y, z) = 1/n sum_{i: y_i = y} p_i(z),   LEEP = 1/n sum_i log sum_z P(y_i | z) p_i(z)

with p_i(z) the source classifier's probability of its class z.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels, one_hot
from ilk.ranking.transferability import check_probabilities

NAME = "LEEP"
INPUT_KIND: Literal["source"] = "source"


def score(p: NDArray[Any], y: Labels) -> float:
    """Return the mean log probability, <= 0, of labels `y [n]` by source probabilities `p [n, z]`.

    Raises:
        NoLabels, InputError: As `check_probabilities`.
    """
    p, y = check_probabilities(p, y)
    joint = one_hot(y, int(y.max()) + 1).T @ p  # [k, z]
    conditional = joint / np.maximum(joint.sum(0), np.finfo(float).tiny)
    return float(np.mean(np.log(np.sum(conditional[y] * p, axis=1))))
