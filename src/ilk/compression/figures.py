"""What compression costs: paired figures of the same labelled images before and after."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels, Logits
from ilk.core.metrics import calibration_error
from ilk.export.int8 import estimate_loss
from ilk.export.recalibrate import HonestRows
from ilk.maths.clusters import compare_means, iterate_draws
from ilk.protocols import stratified_folds
from ilk.trust.calibration import cross_calibrate
from ilk.trust.class_priors import ClassPriors
from ilk.trust.conformal import cross_conformal_sets

N_FOLDS = 5
N_RESAMPLES = 500
ACCURACY, COVERAGE = "accuracy", "coverage"


@dataclass(frozen=True)
class Figure:
    """One measure before and after.

    Attributes:
        name: Its name.
        before: Its value before.
        after: Its value after.
        low: Lower end of the 95 % interval of after minus before.
        high: Upper end.
    """

    name: str
    before: float
    after: float
    low: float
    high: float

    @property
    def change(self) -> float:
        """After minus before."""
        return self.after - self.before


def measure_figures(
    rows: HonestRows, level: float, priors: ClassPriors | None = None, seed: int = 0
) -> tuple[Figure, ...]:
    """Return accuracy, log loss, calibration error, coverage and size of the sets.

    Calibration and thresholds are fitted, before and after alike, to the other folds of the rows.
    Intervals are those of rows that vary together in their groups.

    Args:
        rows: Labelled rows, scored before and after.
        level: Coverage that the sets promise.
        priors: Class priors that the classifier was adapted to.
        seed: Seed of the folds and of the resampling.
    """
    fold = stratified_folds(rows.y, N_FOLDS, seed + 1, rows.group)
    is_tested = fold >= 0
    answers = [
        _answer(logits, rows.y, fold, level, rows.group, priors)
        for logits in (rows.logits, rows.changed_logits)
    ]
    (p, sets), (q, changed_sets) = (
        (values[is_tested], inside[is_tested]) for values, inside in answers
    )
    y, group = rows.y[is_tested], rows.group[is_tested]
    index = np.arange(len(y))
    return (
        _compare_hits(ACCURACY, p.argmax(1) == y, q.argmax(1) == y, group),
        _compare_means("log loss", _lose(p, y), _lose(q, y), group),
        _compare_calibration(p, q, y, group, seed),
        _compare_hits(COVERAGE, sets[index, y], changed_sets[index, y], group),
        _compare_means("mean set size", sets.sum(1), changed_sets.sum(1), group),
    )


def _answer(
    logits: Logits,
    y: Labels,
    fold: Labels,
    level: float,
    group: Labels,
    priors: ClassPriors | None,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return probabilities and sets `[n, k]`, each fold's by what the others say."""
    p = cross_calibrate(logits, y, fold)
    if priors is not None:
        p = priors.adjust(p)
    return p, cross_conformal_sets(p, y, fold, level, None, group)


def _lose(p: NDArray[np.float64], y: Labels) -> NDArray[np.float64]:
    return np.asarray(-np.log(np.clip(p[np.arange(len(y)), y], 1e-15, 1)))


def _compare_hits(
    name: str, before: NDArray[np.bool_], after: NDArray[np.bool_], group: Labels
) -> Figure:
    low, high = estimate_loss(before.astype(np.int64) - after.astype(np.int64), group)
    return Figure(name, float(before.mean()), float(after.mean()), -high, -low)


def _compare_means(name: str, before: NDArray[Any], after: NDArray[Any], group: Labels) -> Figure:
    change = compare_means(after, before, group)
    return Figure(name, float(before.mean()), float(after.mean()), change.low, change.high)


def _compare_calibration(
    p: NDArray[np.float64], q: NDArray[np.float64], y: Labels, group: Labels, seed: int
) -> Figure:
    """Compare expected calibration errors; the interval is of resampled groups of images."""
    changes = []
    for counts in iterate_draws(len(y), N_RESAMPLES, np.random.default_rng(seed), group):
        drawn = np.repeat(np.arange(len(y)), counts)
        one, other = (calibration_error(y[drawn], v[drawn]) for v in (p, q))
        changes.append(other - one)
    low, high = np.quantile(changes, [0.025, 0.975])
    before, after = (calibration_error(y, v) for v in (p, q))
    return Figure("calibration error", before, after, float(low), float(high))


def list_figures(figures: tuple[Figure, ...]) -> list[dict[str, Any]]:
    """Return plain values."""
    return [{**asdict(figure), "change": figure.change} for figure in figures]
