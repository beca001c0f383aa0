"""Wrong labels and a long tail at once: RCAL against remedies for one of the two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.claims import Claim, make_table
from benchmarks.wrong_labels.noisy_heads import NoisySplit, make_elr, train_elr
from ilk.core.data import Data
from ilk.core.metrics import macro_accuracy
from ilk.methods.gda import GDA
from ilk.methods.logistic_regression import LogisticRegression
from ilk.methods.rcal import RCAL
from ilk.protocols import long_tail

FULL, NO_SAMPLING = "RCAL", "RCAL without sampled rows"
CE, NOISE_ONLY, TAIL_ONLY = (
    "LogisticRegression",
    "ELR",
    "LogisticRegression, prior removed",
)
GAUSSIAN = "GDA, uniform prior"
LABELLED_MEANS, RECOVERED_MEANS = "means of the rows as labelled", "means recovered by RCAL"

LabelNoise = Callable[[Data, int], Data]


def evaluate_tail(
    setting: str,
    splits: Sequence[NoisySplit],
    ratio: float,
    max_rows: int,
    corrupt: LabelNoise,
    epochs: float,
) -> list[dict[str, Any]]:
    """Return tables of balanced accuracy and of the distance of class means from clean ones."""
    runs: dict[str, list[float]] = {
        n: [] for n in (FULL, NO_SAMPLING, CE, NOISE_ONLY, TAIL_ONLY, GAUSSIAN)
    }
    distances: dict[str, list[float]] = {RECOVERED_MEANS: [], LABELLED_MEANS: []}
    for seed, split in enumerate(splits):
        noisy = corrupt(long_tail(split.train, ratio, max_rows, seed), seed)
        for name, logits in _predict_logits(noisy, split.test, seed, epochs).items():
            runs[name].append(macro_accuracy(split.test.y, logits.argmax(1)))
        clean, raw = _class_means(split.train), _class_means(noisy)
        distances[LABELLED_MEANS].append(_mean_distance(raw, clean))
        distances[RECOVERED_MEANS].append(
            _mean_distance(RCAL(seed=seed).estimate_means(noisy), clean)
        )
    file = "methods/rcal.py"
    claims = [
        Claim("rcal-noisy-long-tail", file, FULL, baseline) for baseline in runs if baseline != FULL
    ]
    distance_claims = [Claim("rcal-noisy-long-tail", file, RECOVERED_MEANS, LABELLED_MEANS)]
    return [
        make_table(setting, "balanced accuracy on clean test rows", runs, claims),
        make_table(
            setting,
            "mean distance to the clean class means",
            distances,
            distance_claims,
            better="lower",
        ),
    ]


def _predict_logits(
    noisy: Data, test: Data, seed: int, epochs: float
) -> dict[str, NDArray[np.floating[Any]]]:
    """Return the logits of every method on the test rows."""
    plain = LogisticRegression().fit(noisy).logits(test.x)
    head = train_elr(make_elr(0.7, 1.0, seed, epochs), noisy).models[-1]
    priors = np.maximum(noisy.count_labels(), 1) / len(noisy)
    return {
        FULL: RCAL(seed=seed).fit(noisy).logits(test.x),
        NO_SAMPLING: RCAL(target_size_ratio=0.0, seed=seed).fit(noisy).logits(test.x),
        CE: plain,
        NOISE_ONLY: head.logits(test.x),
        TAIL_ONLY: plain - np.log(priors),
        GAUSSIAN: GDA(uniform=True).fit(noisy).logits(test.x),
    }


def _class_means(data: Data) -> NDArray[np.float64]:
    return np.stack([data.x[data.y == c].mean(0, dtype=np.float64) for c in range(data.k)])


def _mean_distance(means: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(means - reference, axis=1).mean())
