"""How often does the interval of a cross-validated accuracy contain the accuracy of the model?

Three Gaussian classes in two dimensions, 5 or 12 rows each, 200 samples; the accuracy of
the model that `ilk fit` would save is measured on 20,000 fresh rows. Compared: one set of folds
against folds repeated until their noise is small (`ilk.fitting.repeated_folds`), for one method and
for the best of three, whose accuracy is also given corrected for the selection.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.runner import summarize
from ilk.core.data import Data
from ilk.core.metrics import wilson_interval
from ilk.fitting.model_selection import rank_candidates
from ilk.methods import parse

METHODS = ("GDA", "NearestClassMean", "NaiveBayes")
ROWS_PER_CLASS = (5, 12)
N_CLASSES, N_TEST = 3, 20_000
N_SAMPLES, N_SMALL = 200, 4
REPEAT_SECONDS = 60.0  # no limit in effect
NAMES = tuple("abc")


def run(small: bool = False) -> dict[str, Any]:
    """Return coverage and width of the intervals for each number of rows."""
    n_samples = N_SMALL if small else N_SAMPLES
    rows = [
        _measure(per_class, n_samples, methods, is_repeated)
        for per_class in (ROWS_PER_CLASS[:1] if small else ROWS_PER_CLASS)
        for methods in (METHODS[:1], METHODS)
        for is_repeated in (False, True)
    ]
    return {"samples": n_samples, "level": 0.95, "rows": rows}


def _measure(
    per_class: int, n_samples: int, methods: tuple[str, ...], is_repeated: bool
) -> dict[str, Any]:
    """Return the coverage over samples of one kind of leaderboard."""
    candidates = [parse(text) for text in methods]
    covered, corrected, width, error = [], [], [], []
    for seed in range(n_samples):
        train, test = draw_sample(per_class, seed)
        leaderboard = rank_candidates(
            {"points": train},
            {"points": candidates},
            seed=seed,
            repeat_seconds=REPEAT_SECONDS if is_repeated else 0.0,
        )
        model = leaderboard.winner[1].fit(train)
        truth = float(np.mean(model.logits(test.x).argmax(1) == test.y))
        scores = leaderboard.results[0].scores
        assert scores is not None
        assert leaderboard.corrected_accuracy is not None
        interval, other = scores.accuracy, leaderboard.corrected_accuracy
        covered.append(interval.low <= truth <= interval.high)
        corrected.append(other.low <= truth <= other.high)
        width.append(interval.high - interval.low)
        error.append(interval.value - truth)
    return {
        "rows_per_class": per_class,
        "methods": len(methods),
        "folds": "repeated" if is_repeated else "one set",
        "coverage": _summarize_rate(covered),
        "coverage_corrected": _summarize_rate(corrected),
        "width": summarize(width),
        "bias": summarize(error),
        "error_deviation": float(np.std(error)),
    }


def _summarize_rate(hits: list[bool]) -> dict[str, float]:
    """Return a rate with its 95 % interval."""
    interval = wilson_interval(sum(hits), len(hits))
    return {"rate": interval.value, "low": interval.low, "high": interval.high}


def draw_sample(per_class: int, seed: int, distance: float = 1.0) -> tuple[Data, Data]:
    """Return a training sample of unit Gaussians around random means, and a large test sample."""
    rng = np.random.default_rng(seed)
    means = distance * rng.normal(size=(N_CLASSES, 2))
    parts = []
    for n in (per_class, N_TEST // N_CLASSES):
        y = np.repeat(np.arange(N_CLASSES), n)
        x = means[y] + rng.normal(size=(len(y), 2))
        parts.append(Data(x.astype(np.float32), y, NAMES))
    return parts[0], parts[1]
