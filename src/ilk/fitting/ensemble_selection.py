"""Choose the weights of an ensemble: greedy selection with replacement.

Rich Caruana, Alexandru Niculescu-Mizil, Geoff Crew, Alex Ksikes, 2004, Ensemble Selection from
Libraries of Models, doi:10.1145/1015330.1015432. From a library of candidates with out-of-fold
probabilities, the ensemble starts with the best ones (section 2.2, sorted initialization) and
repeatedly takes the candidate that lowers its loss most, the same one any number of times (2.1);
the weight of a candidate is how often it was taken. The paper averages over random halves of a
library of thousands (2.3, bagged selection), which would take the best of a handful away half of
the time; the weights are averaged over bootstrap samples of the rows instead, which keeps a
candidate that fits a few rows by chance from a large weight.

The loss is the log loss of the mean probability of the true class, which a small sample determines
better than the accuracy. It depends on that one probability per row and candidate alone, so that
the selection takes milliseconds. The ensemble itself averages log probabilities with these weights
(`ilk.core.ensemble`), whose log loss is lower still.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.maths.clusters import iterate_draws

N_STEPS = 20  # candidates taken; weights are multiples of 1 / 20 in each bag
N_INITIAL = 2  # of which the best ones at the start
N_SAMPLES = 10  # bootstrap samples of the rows
MIN_WEIGHT = 0.04  # smaller weights become 0: a member that hardly counts costs as much as another
MAX_ROWS = 2_000  # an evenly spaced subsample determines the weights

Vector = NDArray[np.float64]


def select_weights(
    own: NDArray[np.floating], seed: int = 0, groups: Labels | None = None
) -> Vector:
    """Return the weight of each candidate, `[m]`, which sum to 1.

    Args:
        own: Out-of-fold probability of the true class, `[m, n]`.
        seed: Seed of the bootstrap samples.
        groups: Group of each row, `[n]`, which are drawn as a whole; None makes every row one.
    """
    m, n = own.shape
    if m == 1 or not n:
        return np.asarray(np.arange(m) == 0, np.float64)
    step = -(-n // MAX_ROWS)
    p = np.clip(np.asarray(own[:, ::step], np.float64), 1e-15, 1.0)
    rng = np.random.default_rng(seed)
    samples: list[NDArray[np.int64]]
    if groups is None:
        width = p.shape[1]
        samples = [np.asarray(rng.integers(width, size=(width,))) for _ in range(N_SAMPLES)]
    else:
        draws = iterate_draws(p.shape[1], N_SAMPLES, rng, groups[::step])
        samples = [np.repeat(np.arange(p.shape[1]), counts) for counts in draws]
    counts = np.sum([_select_greedily(p[:, drawn]) for drawn in samples], axis=0)
    weights = counts / counts.sum()
    weights[weights < MIN_WEIGHT] = 0
    return np.asarray(weights / weights.sum())


def _select_greedily(p: NDArray[np.float64]) -> Vector:
    """Return how often each candidate was taken, `[m]`, at the step with the least loss."""
    order = np.argsort(-np.log(p).mean(1), kind="stable")[:N_INITIAL]
    taken, losses = list(order[:1]), [float(-np.log(p[order[0]]).mean())]
    total = p[order[0]].copy()
    for step in range(1, N_STEPS):
        trial = -np.log((total + p) / (step + 1)).mean(1)
        best = int(order[step]) if step < len(order) else int(np.argmin(trial))
        taken.append(best)
        losses.append(float(trial[best]))
        total += p[best]
    n_best = int(np.argmin(losses)) + 1
    return np.bincount(taken[:n_best], minlength=len(p)) / n_best


def cross_fit_weights(
    own: NDArray[np.floating], fold: Labels, seed: int = 0, groups: Labels | None = None
) -> Vector:
    """Return the weights for the rows of each fold, `[F, m]`, selected on the other folds.

    Args:
        own: Out-of-fold probability of the true class, `[m, n]`.
        fold: Fold of each row, `[n]`, 0 to F - 1.
        seed: Seed of the bootstrap samples.
        groups: Group of each row, `[n]`, as for `select_weights`.
    """
    others = [fold != f for f in range(int(fold.max(initial=-1)) + 1)]
    return np.stack(
        [
            select_weights(own[:, rows], seed, None if groups is None else groups[rows])
            for rows in others
        ]
    )
