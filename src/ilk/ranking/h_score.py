"""H-score: the fraction of the features' variance that lies between classes.

Yajie Bao, Yang Li, Shao-Lun Huang, Lin Zhang, Lizhong Zheng, Amir Zamir, Leonidas Guibas, 2019, An
Information-Theoretic Approach to Transferability in Task Transfer Learning, ICIP,
doi:10.1109/ICIP.2019.8803726; shrunk: Shibal Ibrahim, Natalia Ponomareva, Rahul Mazumder, 2021,
Newer is not always better, arXiv 2110.06893.

    H = tr( cov(f)^+ cov(E[f | y]) ),   shrunk   (1 - s) tr( cov_s(f)^-1 cov(E[f | y]) )

with cov_s the covariance shrunk towards a multiple of the identity by the Ledoit-Wolf intensity s.
Without shrinkage, n features separate any labels of n rows: H then equals the number of classes
minus one regardless of the features, so shrinkage is the default.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.maths.covariance import solve
from ilk.ranking.transferability import check_labelled

NAME = "H-score"
INPUT_KIND: Literal["features"] = "features"


def score(x: NDArray[Any], y: Labels, shrink: bool = True) -> float:
    """Return the H-score of features `x [n, d]` and labels `y [n]`, in [0, k - 1] for k classes.

    Raises:
        NoLabels, InputError: As `check_labelled`.
    """
    z, y = check_labelled(x, y)
    z = z - z.mean(0)
    counts = np.bincount(y)
    means = np.stack([z[y == c].mean(0) for c in range(len(counts))])
    between = (counts / len(z))[:, None] * means
    if not shrink:
        cov = np.atleast_2d(z.T @ z / len(z))
        return float(np.vdot(between, means @ np.linalg.pinv(cov, hermitian=True)))
    from sklearn.covariance import ledoit_wolf

    cov, shrinkage = ledoit_wolf(z, assume_centered=True)
    return float((1 - shrinkage) * np.vdot(between, solve(cov, means.T).T))
