"""Evidence for and against an estimate of class priors, without labels of the images.

All checks read probabilities `p [n, k]` of the images, calibrated under the priors `source [k]`.
"""

from __future__ import annotations

import numpy as np

from ilk.core.data import Labels
from ilk.core.metrics import Probabilities
from ilk.maths.clusters import compute_variance
from ilk.maths.folds import number_groups
from ilk.maths.gaussian import Matrix
from ilk.updates.label_shift import Vector, estimate_priors_em

FOLDS = 5
N_DRAWS = 20  # resamples that estimate the effect of chance
SUM_WEIGHT = 1e3  # weight of the constraint "priors sum to 1" in least squares


def measure_likelihood_gain(
    p: Probabilities, source: Vector, rng: np.random.Generator, groups: Labels | None = None
) -> tuple[float, float]:
    """Return the gain in log likelihood of cross-fitted priors: mean and standard error, in nats.

    Args:
        p: Probabilities of the images, `[n, k]`.
        source: Priors that they imply, `[k]`.
        rng: Assigns the folds.
        groups: Group of each image, `[n]`, which stays in one fold; None makes every image one.
    """
    n = len(p)
    unit = np.arange(n) if groups is None else number_groups(groups)
    n_units = int(unit.max(initial=-1)) + 1
    if n_units < 2 * FOLDS:
        return 0.0, 0.0
    fold, log_gains = (rng.permutation(n_units) % FOLDS)[unit], np.zeros(n)
    for f in range(FOLDS):
        is_test = fold == f
        log_gains[is_test] = np.log(p[is_test] @ (estimate_priors_em(p[~is_test], source) / source))
    if groups is not None:
        return float(log_gains.mean()), float(np.sqrt(compute_variance(log_gains, groups)))
    return float(log_gains.mean()), float(log_gains.std(ddof=1) / np.sqrt(n))


def measure_accuracy_gain(
    p: Probabilities,
    calibration: tuple[Probabilities, Labels],
    ratio: Vector,
    target: Vector,
    error: Vector,
) -> tuple[float, float]:
    """Return the expected change of accuracy by adapting, and its standard deviation.

    The expectation comes from the labels of held-out rows, per class and weighted by `target`, and
    not from probabilities, which may be wrong. The variance is the sum of that of the held-out rows
    (with one more changed prediction, spread over the classes), of the priors, and of the images,
    where each changed prediction is gained or lost.

    Args:
        p: Probabilities of the images, `[n, k]`.
        calibration: Probabilities `[m, k]` and classes `[m]` of held-out rows.
        ratio: Factor of each class's probability, `[k]`.
        target: Estimated priors, `[k]`.
        error: Their standard errors, `[k]`.
    """
    p_cal, y_cal = calibration
    k = len(target)
    before, after = p_cal.argmax(1), (p_cal * ratio).argmax(1)
    gains = (after == y_cal).astype(np.float64) - (before == y_cal)
    counts = np.bincount(y_cal, minlength=k)
    mean = np.bincount(y_cal, gains, k) / np.maximum(counts, 1)
    squares = np.bincount(y_cal, (gains - mean[y_cal]) ** 2, k)
    mean_variance = (squares + 1 / k) / (counts + 1) ** 2
    changed_fraction = float(np.mean(p.argmax(1) != (p * ratio).argmax(1)))
    variance = target**2 @ mean_variance + error**2 @ mean**2 + changed_fraction / len(p)
    return float(target @ mean), float(np.sqrt(variance))


def mean_class_probabilities(p_cal: Probabilities, y_cal: Labels, k: int) -> Matrix:
    """Return mean probabilities of held-out rows by class, `[k, k]`; one-hot without rows.

    Args:
        p_cal: Probabilities of held-out rows, `[m, k]`.
        y_cal: Their classes, `[m]`.
        k: Number of classes.
    """
    counts = np.bincount(y_cal, minlength=k)
    sums = np.zeros((k, k))
    np.add.at(sums, y_cal, p_cal)
    return np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], np.eye(k))


def measure_unexplained(
    p: Probabilities,
    p_cal: Probabilities,
    y_cal: Labels,
    by_class: Matrix,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Return the part of the mean prediction that no mixture of classes explains.

    Args:
        p: Probabilities of the images, `[n, k]`.
        p_cal: Probabilities of held-out rows, `[m, k]`.
        y_cal: Their classes, `[m]`.
        by_class: Mean probabilities by class, `[k, k]`.
        rng: Resamples held-out rows.

    Returns:
        The residual of the best mixture, and its mean over resamples without any change.
    """
    residual, mixture = _fit_mixture(p.mean(0), by_class)
    if not len(y_cal):
        return residual, residual
    weight = (mixture / np.maximum(np.bincount(y_cal, minlength=len(mixture)), 1))[y_cal]
    if weight.sum() <= 0:
        return residual, residual
    by_chance = []
    for _ in range(N_DRAWS):
        rows = rng.choice(len(y_cal), len(p), p=weight / weight.sum())
        resampled = rng.integers(len(y_cal), size=len(y_cal))
        resampled_means = mean_class_probabilities(p_cal[resampled], y_cal[resampled], len(mixture))
        by_chance.append(_fit_mixture(p_cal[rows].mean(0), resampled_means)[0])
    return residual, float(np.mean(by_chance))


def _fit_mixture(mean_p: Vector, by_class: Matrix) -> tuple[float, Vector]:
    """Return half the absolute residual of the best mixture of classes, and the mixture `[k]`."""
    from scipy.optimize import nnls

    system = np.vstack([by_class.T, np.full(len(mean_p), SUM_WEIGHT)])
    mixture = nnls(system, np.append(mean_p, SUM_WEIGHT))[0]
    mixture /= mixture.sum()
    return float(np.abs(mean_p - mixture @ by_class).sum() / 2), mixture
