"""Which of many tests are discoveries, at a bounded share of false ones among them.

Yoav Benjamini, Yosef Hochberg, 1995, Controlling the False Discovery Rate,
doi:10.1111/j.2517-6161.1995.tb02031.x: of m ordered p-values the first k are discoveries, k the
largest with p_(k) <= rate k / m.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def select_discoveries(p: NDArray[np.float64], rate: float) -> NDArray[np.bool_]:
    """Return which of the p-values `[m]` are discoveries, `[m]`.

    Args:
        p: p-values, independent or positively dependent.
        rate: False discovery rate, in (0, 1).
    """
    m = len(p)
    order = np.argsort(p, kind="stable")
    is_below = p[order] <= rate * np.arange(1, m + 1) / max(1, m)
    n_found = int(np.flatnonzero(is_below)[-1]) + 1 if is_below.any() else 0
    found = np.zeros(m, bool)
    found[order[:n_found]] = True
    return found
