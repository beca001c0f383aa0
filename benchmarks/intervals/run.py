"""Do intervals contain the accuracy of the model, and is any candidate wrongly called worse?

`rows`: three Gaussian classes in two dimensions, 5 or 12 rows each; the accuracy of the model that
`ilk fit` would save is measured on 20,000 fresh rows. Compared: one set of folds against folds
repeated until their noise is small (`ilk.fitting.repeated_folds`), for one method and for the best
of three, whose accuracy is also given corrected for the selection.

`leaderboards`: simulated leaderboards of 3, 12 and 30 candidates with correlated votes
(`benchmarks.intervals.simulated_leaderboards`), where all are equally accurate, or a third is
worse. By rule: on how many leaderboards one of the best is called worse than the winner, and how
many of those that are worse are recognized; against a paired test of each candidate and the winner
at the 5 % level (McNemar's mid-p, or a t-test over groups), also with Bonferroni's correction for
all pairs. By interval of the winner's accuracy, how often it contains the true one: `own` is that
of the winner's rows, with no regard to the choice, `percentiles of draws` those of the bootstrap
that corrects the accuracy.

`real leaderboards` (`benchmarks.intervals.real_leaderboards`): methods on features of notMNIST and
USPS, with 3,000 images as the truth; and, with the votes of each image exchanged, leaderboards of
equal candidates.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.intervals.real_leaderboards import measure_real_leaderboards
from benchmarks.intervals.simulated_leaderboards import World, measure_world, summarize_rate
from benchmarks.runner import summarize
from ilk.core.data import Data
from ilk.core.errors import Unavailable
from ilk.fitting.model_selection import rank_candidates
from ilk.methods import parse

METHODS = ("GDA", "NearestClassMean", "NaiveBayes")
ROWS_PER_CLASS = (5, 12)
N_CLASSES, N_TEST = 3, 20_000
N_SAMPLES, N_SMALL, FIRST_SEED = 40, 4, 5000
N_LEADERBOARDS, N_INTERVALS, N_SPLITS = 150, 60, 8
SIZES = (3, 12, 30)
WORLDS = (
    *(World(c, 60) for c in SIZES),
    *(World(c, 300) for c in SIZES),
    *(World(c, 300, shared=0.0) for c in SIZES),
    *(World(c, 300, gap=0.1) for c in SIZES),
    World(12, 3000, gap=0.03),
    World(12, 300, criterion="macro_accuracy"),
    World(12, 300, criterion="log_loss"),
    World(12, 360, group_size=6),
    World(12, 360, gap=0.1, group_size=6),
)
REPEAT_SECONDS = 60.0  # no limit in effect
NAMES = tuple("abc")


def run(small: bool = False) -> dict[str, Any]:
    """Return coverage and width of the intervals for each number of rows, and the leaderboards."""
    n_samples = N_SMALL if small else N_SAMPLES
    rows = [
        _measure(per_class, n_samples, methods, is_repeated)
        for per_class in (ROWS_PER_CLASS[:1] if small else ROWS_PER_CLASS)
        for methods in (METHODS[:1], METHODS)
        for is_repeated in (False, True)
    ]
    worlds, counts = ((WORLDS[0],), (4, 2)) if small else (WORLDS, (N_LEADERBOARDS, N_INTERVALS))
    result = {
        "samples": n_samples,
        "level": 0.95,
        "rows": rows,
        "leaderboards": [measure_world(world, *counts) for world in worlds],
    }
    if not small:
        try:
            result["real leaderboards"] = measure_real_leaderboards(N_SPLITS)
        except Unavailable as missing:
            result["left out"] = str(missing)
    return result


def _measure(
    per_class: int, n_samples: int, methods: tuple[str, ...], is_repeated: bool
) -> dict[str, Any]:
    """Return the coverage over samples of one kind of leaderboard."""
    candidates = [parse(text) for text in methods]
    covered, corrected, width, error = [], [], [], []
    for seed in range(FIRST_SEED, FIRST_SEED + n_samples):
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
        "coverage": summarize_rate(covered),
        "coverage_corrected": summarize_rate(corrected),
        "width": summarize(width),
        "bias": summarize(error),
        "error_deviation": float(np.std(error)),
    }


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
