"""Wrong labels and a long tail at once: RCAL beside remedies for one trouble alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.bench._family import Claim, table
from ilk.bench._noisy_heads import Rows, elr, path_of
from ilk.data import Data
from ilk.methods.gda import GDA
from ilk.methods.logistic_regression import LogisticRegression
from ilk.methods.rcal import RCAL
from ilk.metrics import macro_accuracy
from ilk.protocols import long_tail

FULL, UNDRAWN = "RCAL", "RCAL without drawn rows"
CE, NOISE, TAIL = "LogisticRegression", "EarlyLearning", "LogisticRegression, prior taken off"
GAUSSIAN = "GDA, classes equally likely"
RAW, RECOVERED = "means of the rows as labelled", "means that RCAL recovers"

Spoil = Callable[[Data, int], Data]


def condition(
    where: str, cuts: Sequence[Rows], ratio: float, most: int, spoil: Spoil, passes: float
) -> list[dict[str, Any]]:
    """Balanced accuracy, and how far class means lie from the clean ones; a seed for each cut."""
    runs: dict[str, list[float]] = {n: [] for n in (FULL, UNDRAWN, CE, NOISE, TAIL, GAUSSIAN)}
    away: dict[str, list[float]] = {RECOVERED: [], RAW: []}
    for seed, rows in enumerate(cuts):
        noisy = spoil(long_tail(rows.train, ratio, most, seed), seed)
        for name, logits in _answers(noisy, rows.test, seed, passes).items():
            runs[name].append(macro_accuracy(rows.test.y, logits.argmax(1)))
        clean, raw = _means(rows.train), _means(noisy)
        away[RAW].append(_apart(raw, clean))
        away[RECOVERED].append(_apart(RCAL(seed=seed).means(noisy), clean))
    file = "methods/rcal.py"
    claims = [Claim("rcal-noisy-long-tail", file, FULL, other) for other in runs if other != FULL]
    nearer = [Claim("rcal-noisy-long-tail", file, RECOVERED, RAW)]
    return [
        table(where, "balanced accuracy on clean test rows", runs, claims),
        table(where, "mean distance to the clean class means", away, nearer, better="lower"),
    ]


def _answers(
    noisy: Data, test: Data, seed: int, passes: float
) -> dict[str, NDArray[np.floating[Any]]]:
    """Logits of every contender on the test rows."""
    plain = LogisticRegression().fit(noisy).logits(test.x)
    head = path_of(elr(0.7, 1.0, seed, passes), noisy).models[-1]
    share = np.maximum(noisy.counts(), 1) / len(noisy)
    return {
        FULL: RCAL(seed=seed).fit(noisy).logits(test.x),
        UNDRAWN: RCAL(fill=0.0, seed=seed).fit(noisy).logits(test.x),
        CE: plain,
        NOISE: head.logits(test.x),
        TAIL: plain - np.log(share),
        GAUSSIAN: GDA(uniform=True).fit(noisy).logits(test.x),
    }


def _means(data: Data) -> NDArray[np.float64]:
    return np.stack([data.x[data.y == c].mean(0, dtype=np.float64) for c in range(data.k)])


def _apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(one - other, axis=1).mean())
