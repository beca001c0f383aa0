"""H-score: how much of the features' variance lies between the classes.

Yajie Bao, Yang Li, Shao-Lun Huang, Lin Zhang, Lizhong Zheng, Amir Zamir, Leonidas Guibas, 2019, An
Information-Theoretic Approach to Transferability in Task Transfer Learning, ICIP,
doi:10.1109/ICIP.2019.8803726; shrunk: Shibal Ibrahim, Natalia Ponomareva, Rahul Mazumder, 2021,
Newer is not always better, arXiv 2110.06893.

    H = tr( cov(f)^+ cov(E[f | y]) ),   shrunk   (1 - s) tr( cov_s(f)^-1 cov(E[f | y]) )

with cov_s the covariance of which a share s, by Ledoit and Wolf, became a sphere. Without
shrinkage, features as many as rows tell any labels apart: H is then the number of classes less one
whatever they show, so shrinkage is what is done unless told otherwise.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ilk.data import Labels
from ilk.maths.gaussian import solve
from ilk.ranking.contract import labelled

NAME = "H-score"
READS: Literal["features"] = "features"


def score(x: NDArray[Any], y: Labels, shrink: bool = True) -> float:
    """Of features `x [n, d]` and labels `y [n]`: in [0, k - 1] for k classes.

    Raises:
        NoLabels, InputError: As `labelled` says.
    """
    z, y = labelled(x, y)
    z = z - z.mean(0)
    counts = np.bincount(y)
    means = np.stack([z[y == c].mean(0) for c in range(len(counts))])
    between = (counts / len(z))[:, None] * means
    if not shrink:
        cov = np.atleast_2d(z.T @ z / len(z))
        return float(np.vdot(between, means @ np.linalg.pinv(cov, hermitian=True)))
    from sklearn.covariance import ledoit_wolf

    cov, share = ledoit_wolf(z, assume_centered=True)
    return float((1 - share) * np.vdot(between, solve(cov, means.T).T))
