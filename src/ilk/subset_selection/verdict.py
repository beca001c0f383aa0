"""Which selector keeps the most useful images, and what keeping fewer costs.

The best of several looks better than it is. How much better is estimated as in bootstrap
bias-corrected cross-validation (Ioannis Tsamardinos, Elissavet Greasidou, Giorgos Borboudakis,
2018, doi:10.1007/s10994-018-5714-4): in each draw of the rows, the best on the rows drawn is
measured on those that were not, and the mean fall is taken off.

Without a target, a selector is preferred to random images only where what is left of its gain is
above 0 beyond its interval; with one, it is used unless it is clearly worse. The interval is that
of the folds' means, widened because folds share most of what is kept (Claude Nadeau, Yoshua Bengio,
2003, Inference for the Generalization Error, doi:10.1023/A:1024068626366):

    mean +- t_{J-1} sqrt( (1 / J + 1 / (J - 1)) s^2 ),   s^2 the variance of the J folds' means
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.metrics import Interval
from ilk.maths.clusters import compare_means, compute_interval, iterate_draws
from ilk.subset_selection.trials import ALL, RANDOM, Trials

N_BOOTSTRAP = 300
BASELINE = "RandomSubset"


@dataclass(frozen=True)
class Verdict:
    """What was measured on images that took no part in the selection.

    Attributes:
        selector: Text of the selector that is used: the best, or the baseline.
        best: Text of the selector with the highest mean.
        measure: "accuracy", or "log density" in nats per feature.
        n: Number of images it was measured on.
        all: With all images kept.
        kept: With those that `best` keeps, corrected for the choice.
        random: With equally many at random.
        gain: `kept` minus `random`, paired by image.
        loss: `all` minus what `selector` gives, paired by image.
        means: Mean by selector, not corrected.
    """

    selector: str
    best: str
    measure: str
    n: int
    all: Interval
    kept: Interval
    random: Interval
    gain: Interval
    loss: Interval
    means: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def reach_verdict(
    trials: Trials, seed: int = 0, *, is_chosen: bool = True, needs_proof: bool = True
) -> Verdict:
    """Return the best selector, and whether it is worth more than random images.

    Args:
        trials: What was measured.
        seed: Seed of the bootstrap.
        is_chosen: Whether the best is chosen here; a single one that was named is used as it is.
        needs_proof: Whether random rows are used unless the best is clearly better; otherwise only
            if it is clearly worse.
    """
    names = [name for name in trials.values if name not in (ALL, RANDOM)]
    values = np.stack([trials.values[name] for name in names])
    best = int(values.mean(1).argmax())
    optimism = estimate_optimism(values, trials.groups, seed)
    everything, random = trials.values[ALL], trials.values[RANDOM]
    gain = compute_difference(values[best] - random, trials.fold, -optimism)
    is_used = not is_chosen or (gain.low > 0 if needs_proof else gain.high >= 0)
    used = values[best] if is_used else random
    shift = optimism if is_used else 0.0
    is_accuracy = trials.measure == "accuracy"
    return Verdict(
        names[best] if is_used else BASELINE,
        names[best],
        trials.measure,
        len(random),
        _describe(everything, trials.groups, is_accuracy),
        _describe(values[best], trials.groups, is_accuracy, -optimism),
        _describe(random, trials.groups, is_accuracy),
        gain,
        compute_difference(everything - used, trials.fold, shift),
        {name: float(row.mean()) for name, row in zip(names, values, strict=True)},
    )


def estimate_optimism(values: NDArray[np.float64], groups: Labels, seed: int) -> float:
    """Return by how much the best mean of `values [s, m]` is too high because it is the best.

    Args:
        values: Value of each row for each of s selectors.
        groups: Group of each row, `[m]`, drawn together.
        seed: Seed of the bootstrap.
    """
    if len(values) < 2:
        return 0.0
    outside_best = []
    for counts in iterate_draws(values.shape[1], N_BOOTSTRAP, np.random.default_rng(seed), groups):
        is_out = counts == 0
        if is_out.any():
            best = int((values @ counts).argmax())
            # relative to the others, so that a lucky draw of rows does not count as a choice
            outside = values[:, is_out].mean(1)
            outside_best.append(outside[best] - outside.mean())
    if not outside_best:
        return 0.0
    means = values.mean(1)
    return max(0.0, float(means.max() - means.mean() - np.mean(outside_best)))


def compute_difference(values: NDArray[np.float64], fold: Labels, shift: float = 0.0) -> Interval:
    """Return the mean of differences, moved by `shift`, with the 95 % interval of its folds.

    Args:
        values: Difference of each row, `[m]`.
        fold: Fold of each row, `[m]`, 0 to J - 1, J > 1, none without rows.
        shift: What is added.
    """
    from scipy.special import stdtrit

    means = np.bincount(fold, values) / np.bincount(fold)
    n = len(means)
    error = float(np.sqrt((1 / n + 1 / (n - 1)) * means.var(ddof=1)))
    mean, half = float(values.mean()) + shift, float(stdtrit(n - 1, 0.975)) * error
    return Interval(mean, mean - half, mean + half)


def _describe(
    values: NDArray[np.float64], groups: Labels, is_accuracy: bool, shift: float = 0.0
) -> Interval:
    if not is_accuracy:
        return _compute_mean(values, groups, shift)
    interval = compute_interval(values, groups)
    return Interval(
        *(float(np.clip(v + shift, 0, 1)) for v in (interval.value, interval.low, interval.high))
    )


def _compute_mean(values: NDArray[np.float64], groups: Labels, shift: float) -> Interval:
    """Return the mean, moved by `shift`, with its 95 % interval."""
    interval = compare_means(values, np.zeros(len(values)), groups)
    return Interval(*(v + shift for v in (interval.value, interval.low, interval.high)))
