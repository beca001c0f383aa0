"""Shapley values of the parts of an image: exact for few parts, kernel SHAP for many.

Scott M. Lundberg, Su-In Lee, 2017, A Unified Approach to Interpreting Model Predictions, arXiv
1705.07874, theorem 2. The values phi minimize

    sum over coalitions z of  w(z) (f(z) - f(none) - z . phi)^2,   sum phi = f(all) - f(none)
    w(z) = (d - 1) / (C(d, |z|) |z| (d - |z|))

Over all coalitions the minimizer is exactly the Shapley values. Departure: coalitions that are
drawn come with their complement, which takes away most of the variance (Ian Covert, Su-In Lee,
2021, Improving KernelSHAP, arXiv 2012.01536, section 3).
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np
from numpy.typing import NDArray

Coalitions = NDArray[np.bool_]
Score = Callable[[Coalitions], NDArray[np.floating]]
"""The answer `[n]` with only the parts of each coalition `[n, d]`."""
MAX_EXACT_PARTS = 16  # beyond, all coalitions would not fit in memory
RIDGE = 1e-9  # of the largest entry, for fewer coalitions than parts


def compute_shapley(
    score: Score, n_parts: int, n_coalitions: int = 500, seed: int = 0
) -> NDArray[np.float64]:
    """Return the Shapley values `[d]`; they add up to `f(all) - f(none)`.

    Exact if all `2^d` coalitions are within the budget.

    Args:
        score: The answer for coalitions of parts; called once.
        n_parts: Number of parts, d >= 1.
        n_coalitions: Most coalitions to score, those of all parts and of none aside.
        seed: Seed of the draws.
    """
    if n_parts <= MAX_EXACT_PARTS and 2**n_parts - 2 <= n_coalitions:
        coalitions, weight = list_coalitions(n_parts)
    else:
        coalitions, weight = draw_coalitions(n_parts, n_coalitions, seed)
    ends = np.stack([np.zeros(n_parts, np.bool_), np.ones(n_parts, np.bool_)])
    values = np.asarray(score(np.concatenate([ends, coalitions])), np.float64)
    total = values[1] - values[0]
    if n_parts == 1:
        return np.array([total])
    z, gain = coalitions.astype(np.float64), values[2:] - values[0]
    gram, moment = z.T @ (weight[:, None] * z), z.T @ (weight * gain)
    gram[np.diag_indices(n_parts)] += RIDGE * max(float(gram.max()), 1e-12)
    solved = np.linalg.solve(gram, np.stack([moment, np.ones(n_parts)], 1))
    excess = (solved[:, 0].sum() - total) / solved[:, 1].sum()  # the multiplier of the constraint
    return np.asarray(solved[:, 0] - excess * solved[:, 1])


def list_coalitions(n_parts: int) -> tuple[Coalitions, NDArray[np.float64]]:
    """Return all coalitions `[2^d - 2, d]` but none and all, and their weights."""
    numbers = np.arange(1, 2**n_parts - 1)
    coalitions = (numbers[:, None] >> np.arange(n_parts) & 1).astype(np.bool_)
    by_size = np.zeros(n_parts)
    for size in range(1, n_parts):
        by_size[size] = (n_parts - 1) / (comb(n_parts, size) * size * (n_parts - size))
    return coalitions, by_size[coalitions.sum(1)]


def draw_coalitions(
    n_parts: int, n_coalitions: int, seed: int
) -> tuple[Coalitions, NDArray[np.float64]]:
    """Return coalitions `[n, d]` drawn in proportion to their weights, with their complements."""
    rng = np.random.default_rng(seed)
    sizes = np.arange(1, n_parts)
    p = 1 / (sizes * (n_parts - sizes))
    drawn = rng.choice(sizes, max(1, n_coalitions // 2), p=p / p.sum())
    order = rng.random((len(drawn), n_parts)).argsort(1)
    half = order < drawn[:, None]  # the ranks of a random order: `drawn` of them are below
    coalitions = np.concatenate([half, ~half])
    return coalitions, np.ones(len(coalitions))
