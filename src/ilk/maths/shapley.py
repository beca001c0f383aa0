"""Exact Shapley values of a function of few features.

    phi_j = sum_{S without j} |S|! (p - |S| - 1)! / p! (v(S + j) - v(S))
    v(S)  = mean_b f(x on S, background row b elsewhere)

(Lloyd S. Shapley, 1953, A Value for n-Person Games, doi:10.1515/9781400881970-018; Scott M.
Lundberg, Su-In Lee, 2017, A Unified Approach to Interpreting Model Predictions, arXiv 1705.07874,
with features drawn independently.) All 2^p sets are evaluated, so that nothing is estimated.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.errors import InputError

MAX_FEATURES = 14
BLOCK_ROWS = 2**18  # rows evaluated at a time


def compute_shapley_values(
    function: Callable[[NDArray[Any]], NDArray[Any]],
    x: NDArray[Any],
    background: NDArray[Any],
) -> NDArray[np.float64]:
    """Return the Shapley value of every feature of every row for every output, `[n, p, k]`.

    They sum over features to `f(x) - mean_b f(background_b)`.

    Args:
        function: Rows `[m, p]` -> outputs `[m, k]`.
        x: Rows to explain, `[n, p]`, with p at most `MAX_FEATURES`.
        background: Rows that absent features are taken from, `[b, p]`, b >= 1.

    Raises:
        InputError: There are too many features, no background row, or rows of another width.
    """
    n, p = x.shape
    if p > MAX_FEATURES or not len(background) or background.shape[1] != p:
        raise InputError(
            f"exact Shapley values need at most {MAX_FEATURES} features and background rows of the "
            f"same width; there are {p} features and a background of shape {background.shape}"
        )
    n_sets = 1 << p
    sets = np.arange(n_sets)
    is_present = (sets[:, None] >> np.arange(p) & 1).astype(bool)  # [sets, p]
    size = is_present.sum(1)
    weight = np.array([1 / (p * comb(p - 1, s)) if s < p else 0.0 for s in range(p + 1)])
    step = max(1, BLOCK_ROWS // (n_sets * len(background)))
    parts = []
    for start in range(0, n, step):
        rows = x[start : start + step]
        mixed = np.where(
            is_present[:, None, None], rows[None, :, None], background[None, None]
        )  # [sets, rows, background, p]
        out = np.asarray(function(mixed.reshape(-1, p)), np.float64)
        value = out.reshape(n_sets, len(rows), len(background), -1).mean(2)
        phi = np.empty((len(rows), p, value.shape[2]))
        for j in range(p):
            without = sets[~is_present[:, j]]
            gain = value[without | 1 << j] - value[without]
            phi[:, j] = np.tensordot(weight[size[without]], gain, (0, 0))
        parts.append(phi)
    return np.concatenate(parts) if parts else np.zeros((0, p, 0))
