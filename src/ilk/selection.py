"""What the best of many is worth, and which others are as good: paired statistics of answers.

Ioannis Tsamardinos, Elissavet Greasidou, Giorgos Borboudakis, 2018, Bootstrapping the Out-of-sample
Predictions for Efficient and Accurate Cross-Validation, arXiv 1708.07180, algorithm 3 (BBC-CV):
draw rows with replacement, select the best candidate on them, score it on the rows not drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm

from ilk.data import Labels
from ilk.metrics import Interval, Probabilities

SELECT = ("accuracy", "macro_accuracy", "log_loss")
DRAWS = 1000

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Votes:
    """What one candidate made of each tested row.

    Attributes:
        right: Whether its answer is the label, `[n]`.
        loss: `-log p[label]` in nats, `[n]`; a zero probability is read as 1e-15.
    """

    right: NDArray[np.bool_]
    loss: Vector


def votes(y: Labels, probabilities: Probabilities) -> Votes:
    """The votes of probabilities `[n, k]` on labels `[n]`."""
    own = probabilities[np.arange(len(y)), y]
    return Votes(probabilities.argmax(1) == y, -np.log(np.clip(own, 1e-15, 1.0)))


def honest_accuracy(
    y: Labels, candidates: Sequence[Votes], select: str = "accuracy", seed: int = 0
) -> Interval:
    """Accuracy to expect of the best of `candidates`, the choosing itself paid for.

    Mean and 95 % percentile interval over 1,000 bootstrap draws.
    """
    rng = np.random.default_rng(seed)
    n = len(y)
    right = np.stack([c.right for c in candidates]).astype(np.float32)
    loss = np.stack([c.loss for c in candidates]).astype(np.float32)
    got = []
    for _ in range(DRAWS):
        times = np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float32)
        left = times == 0
        if not left.any():
            continue
        best = _best(y, right, loss, times, select)
        got.append(float(right[best, left].mean()))
    low, high = np.quantile(got, [0.025, 0.975])
    return Interval(float(np.mean(got)), float(low), float(high))


def _best(
    y: Labels,
    right: NDArray[np.float32],
    loss: NDArray[np.float32],
    times: NDArray[np.float32],
    select: str,
) -> int:
    """The candidate to select on rows that were drawn `times` times each."""
    mean_loss = (loss @ times) / times.sum()
    weight = times / np.bincount(y, times)[y].clip(1) if select == "macro_accuracy" else times
    figure = mean_loss if select == "log_loss" else -(right @ weight.astype(np.float32))
    return int(np.lexsort((mean_loss, np.round(figure, 4)))[0])


def tied(y: Labels, winner: Votes, other: Votes, select: str = "accuracy") -> bool:
    """Whether a paired test at 5 % cannot tell the two apart.

    By accuracy: McNemar's mid-p test (Fagerland, Lydersen, Laake 2013, doi:10.1186/1471-2288-13-91)
    on the rows where exactly one is right. Otherwise: a z-test of the mean difference a row.
    """
    return p_value(y, winner, other, select) > 0.05


def p_value(y: Labels, a: Votes, b: Votes, select: str = "accuracy") -> float:
    """Two-sided p-value of "as good as each other", in [0, 1]."""
    if select == "accuracy":
        return mcnemar(int(np.sum(a.right & ~b.right)), int(np.sum(b.right & ~a.right)))
    if select == "macro_accuracy":
        difference = (a.right.astype(float) - b.right) / np.bincount(y)[y]
    else:
        difference = b.loss - a.loss
    n, spread = len(y), float(np.std(difference, ddof=1)) if len(y) > 1 else 0.0
    if spread == 0:
        return float(np.mean(difference) == 0)
    return float(2 * norm.sf(abs(np.mean(difference)) * np.sqrt(n) / spread))


def mcnemar(only_a: int, only_b: int) -> float:
    """Mid-p value of so many rows that only one, and only the other, answered rightly."""
    n, most = only_a + only_b, max(only_a, only_b)
    upper = float(binom.sf(most - 1, n, 0.5)) - 0.5 * float(binom.pmf(most, n, 0.5))
    return min(1.0, 2 * upper)
