"""NCE: the negative conditional entropy of the labels given the network's own predictions.

Anh T. Tran, Cuong V. Nguyen, Tal Hassner, 2019, Transferability and Hardness of Supervised
Classification Tasks, arXiv 1908.08142, the negative conditional entropy

    -H(Y | Z) = sum_{y, z} P(y, z) log P(y | z)

with Z the source classifier's predicted class, and P the empirical distribution of the rows.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from ilk.core.data import Labels
from ilk.ranking.transferability import check_probabilities

NAME = "NCE"
INPUT_KIND: Literal["source"] = "source"


def score(p: NDArray[Any], y: Labels) -> float:
    """Return the negative entropy, <= 0 nats, of labels `y [n]` given the argmax of `p [n, z]`.

    Raises:
        NoLabels, InputError: As `check_probabilities`.
    """
    p, y = check_probabilities(p, y)
    joint = np.zeros((int(y.max()) + 1, p.shape[1]))
    np.add.at(joint, (y, p.argmax(1)), 1 / len(y))
    return float(np.sum(xlogy(joint, joint)) - np.sum(xlogy(joint.sum(0), joint.sum(0))))
