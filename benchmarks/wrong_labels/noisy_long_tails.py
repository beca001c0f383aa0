"""Wrong labels and a long tail at once: RCAL against remedies for one of the two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.claims import Claim, make_table
from benchmarks.wrong_labels.noisy_heads import NoisySplit
from ilk.core.data import Data
from ilk.core.metrics import macro_accuracy
from ilk.methods.elr import ELR
from ilk.methods.gda import GDA
from ilk.methods.logistic_regression import LogisticRegression
from ilk.methods.rcal import RCAL
from ilk.protocols import long_tail

FULL, NO_SAMPLING = "RCAL", "RCAL without sampled rows"
BY_FACTOR, NONE_LEFT_OUT = "RCAL, outliers by local factor", "RCAL, no outliers left out"
VARIANTS = {
    FULL: RCAL(),
    BY_FACTOR: RCAL(contamination=0.2, local_factor=True),
    NONE_LEFT_OUT: RCAL(contamination=0.0),
    NO_SAMPLING: RCAL(target_size_ratio=0.0),
}
CE, NOISE_ONLY, TAIL_ONLY = (
    "LogisticRegression",
    "ELR",
    "LogisticRegression, prior removed",
)
GAUSSIAN = "GDA, uniform prior"
LABELLED_MEANS, RECOVERED_MEANS = "means of the rows as labelled", "means recovered by RCAL"
FACTOR_MEANS = "means recovered by RCAL, outliers by local factor"

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
    runs: dict[str, list[float]] = {n: [] for n in (*VARIANTS, CE, NOISE_ONLY, TAIL_ONLY, GAUSSIAN)}
    distances: dict[str, list[float]] = {
        name: [] for name in (RECOVERED_MEANS, FACTOR_MEANS, LABELLED_MEANS)
    }
    for split in splits:
        seed = split.seed
        noisy = corrupt(long_tail(split.train, ratio, max_rows, seed), seed)
        for name, logits in _predict_logits(noisy, split.test, seed, epochs).items():
            runs[name].append(macro_accuracy(split.test.y, logits.argmax(1)))
        clean, raw = _class_means(split.train), _class_means(noisy)
        distances[LABELLED_MEANS].append(_mean_distance(raw, clean))
        for name, variant in ((RECOVERED_MEANS, FULL), (FACTOR_MEANS, BY_FACTOR)):
            means = replace(VARIANTS[variant], seed=seed).estimate_means(noisy)
            distances[name].append(_mean_distance(means, clean))
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
    priors = np.maximum(noisy.count_labels(), 1) / len(noisy)
    variants = {
        name: replace(method, seed=seed).fit(noisy).logits(test.x)
        for name, method in VARIANTS.items()
    }
    return variants | {
        CE: plain,
        NOISE_ONLY: ELR(epochs=epochs, seed=seed).fit(noisy).logits(test.x),
        TAIL_ONLY: plain - np.log(priors),
        GAUSSIAN: GDA(uniform=True).fit(noisy).logits(test.x),
    }


def _class_means(data: Data) -> NDArray[np.float64]:
    return np.stack([data.x[data.y == c].mean(0, dtype=np.float64) for c in range(data.k)])


def _mean_distance(means: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(means - reference, axis=1).mean())
