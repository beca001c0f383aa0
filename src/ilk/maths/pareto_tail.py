"""The tail of the scores of wrong matches, among which some right ones hide.

Beyond a high threshold u, the excess of a score follows a generalized Pareto law in the limit,

    P(excess > t) = (1 + shape t / scale) ^ (-1 / shape),

exponential for shape 0 (James Pickands, 1975, Statistical Inference Using Extreme Order
Statistics). The scores above u are a mixture of that law and of the density of right matches, which
is known from matches that are known to be right (the two-groups model of Bradley Efron, 2008,
Microarrays, Empirical Bayes and the Two-Groups Model), with a part spread evenly for right matches
that look like none of them. A few hundred scores do not say much about the shape, and what is
extrapolated depends on it most: the tail is the average over shapes, scales and shares of right
matches, each weighted by its likelihood (a flat prior), and not that of the best of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

SHAPES = np.array([-0.4, -0.3, -0.2, -0.1, -0.05, 0.0, 0.05, 0.1])
SCALES = np.geomspace(0.05, 3, 41)  # times the mean excess
SHARES = np.array([0, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
EVEN = 0.05  # share of the right matches that are spread evenly
MAX_SCORES = 5_000  # above u, a sample of which enters where there are more
FAR = 100.0  # mean excesses above u where the search for a threshold ends
TINY = 1e-300


@dataclass(frozen=True, eq=False)
class ParetoTail:
    """How many wrong matches score above a threshold.

    Attributes:
        start: u, where the tail begins.
        count: Number of scores above u.
        mean: Their mean excess.
        shape: Of each law, `[l]`.
        scale: Of each law, `[l]`.
        share: Of right matches among the scores above u, for each law, `[l]`.
        weight: Of each law, `[l]`; they sum to 1.
    """

    start: float
    count: int
    mean: float
    shape: Vector
    scale: Vector
    share: Vector
    weight: Vector

    def count_above(self, threshold: float) -> float:
        """Return the expected number of wrong matches with a score of at least a threshold >= u."""
        excess = max(0.0, threshold - self.start)
        beyond = np.exp(_log_tail(excess, self.shape, self.scale))
        return self.count * float((self.weight * (1 - self.share)) @ beyond)

    def find_threshold(self, expected: float) -> float:
        """Return the least threshold, at least u, above which at most `expected` are expected."""
        low, high = self.start, self.start + FAR * self.mean
        if self.count_above(low) <= expected:
            return low
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.count_above(middle) > expected else (low, middle)
        return high


def fit_tail(
    scores: Vector, right: Vector, start: float, extra: Vector | None = None
) -> ParetoTail:
    """Fit the tail of wrong matches.

    Args:
        scores: Scores of candidates, mostly wrong matches, `[n]`.
        right: Scores of matches that are right, `[r]`.
        start: u.
        extra: Scores of further candidates, nearly all wrong matches, which help to find the law
            and are not counted, `[m]`.
    """
    own = scores[scores >= start] - start
    others = np.zeros(0) if extra is None else extra[extra >= start] - start
    used = np.random.default_rng(0).permutation(own)[:MAX_SCORES]
    excess, n = np.concatenate([used, others]), len(used)
    mean = max(float(excess.mean()), 1e-6) if len(excess) else 1.0
    density = _estimate_density(excess, right[right >= start] - start)
    shape, scale, share, likelihood = [], [], [], []
    for s in SHAPES.tolist():
        for sigma in (SCALES * mean).tolist():
            law = _compute_density(excess, s, sigma)
            for p in SHARES.tolist():
                mixed = np.concatenate(
                    [
                        (1 - p) * law[:n] + p * density[:n],
                        (1 - p / 2) * law[n:] + p / 2 * density[n:],
                    ]
                )
                likelihood.append(float(np.log(mixed + TINY).sum()))
                shape.append(s)
                scale.append(sigma)
                share.append(p)
    weight = np.exp(np.array(likelihood) - max(likelihood))
    return ParetoTail(
        start,
        len(own),
        mean,
        np.array(shape),
        np.array(scale),
        np.array(share),
        weight / weight.sum(),
    )


def _compute_density(excess: Vector, shape: float, scale: float) -> Vector:
    """Return the density of a generalized Pareto law, `[n]`; 0 beyond its end."""
    if shape == 0:
        return np.exp(-excess / scale) / scale
    inside = 1 + shape * excess / scale
    power = -(1 / shape + 1) * np.log(np.maximum(inside, TINY))
    return np.where(inside > 0, np.exp(np.minimum(power, 700)), 0) / scale


def _log_tail(excess: float, shape: Vector, scale: Vector) -> Vector:
    """Return the logarithm of the share of each law beyond an excess, `[l]`; -inf at its end."""
    inside = 1 + shape * excess / scale
    safe = np.where(shape == 0, 1, shape)
    power = np.where(inside > 0, -np.log(np.maximum(inside, TINY)) / safe, -np.inf)
    return np.where(shape == 0, -excess / scale, power)


def _estimate_density(at: Vector, known: Vector) -> Vector:
    """Return a kernel density of `known` values above 0, reflected at 0, with an even part."""
    if not len(at):
        return np.zeros(0)
    top = max(float(at.max()), float(known.max(initial=0)), 1e-6)
    if len(known) < 2:
        return np.full(len(at), 1 / top)
    spread = float(np.subtract(*np.quantile(known, [0.75, 0.25]))) / 1.34
    width = max(0.9 * (spread or float(known.std())) * len(known) ** -0.2, 1e-3 * top)
    z, mirrored = (at[:, None] - known) / width, (at[:, None] + known) / width
    kernel = np.exp(-(z**2) / 2) + np.exp(-(mirrored**2) / 2)
    return (1 - EVEN) * kernel.mean(1) / (width * np.sqrt(2 * np.pi)) + EVEN / top
