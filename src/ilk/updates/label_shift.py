"""Estimate the class priors of unlabelled images under label shift.

Marco Saerens, Patrice Latinne, Christine Decaestecker, 2002, Adjusting the Outputs of a Classifier
to New a Priori Probabilities, doi:10.1162/089976602753284446: with p(c | x) calibrated under priors
source_c, the maximum-likelihood priors of the images are the fixed point of

    q_i(c) ~ p(c | x_i) target_c / source_c,     target_c = (sum_i q_i(c) + 1) / (n + k)

The 1 is a departure (0 in the paper): a class that is absent so far may still appear, and a prior
of 0 would exclude it for good. As a control, black-box shift estimation (BBSE) uses predicted
labels alone: Zachary Lipton, Yu-Xiang Wang, Alex Smola, 2018, Detecting and Correcting for Label
Shift with Black Box Predictors, arXiv 1802.03916. Both assume that p(x | c) is unchanged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.metrics import Probabilities
from ilk.maths.class_prior_em import estimate_class_priors
from ilk.maths.folds import number_groups

Vector = NDArray[np.float64]


def estimate_source_priors(p_cal: Probabilities, y_cal: Labels, counts: Labels) -> Vector:
    """Return the priors `[k]` that the probabilities imply: their mean on held-out rows.

    Unlike class frequencies, they give no shift on unshifted data even if the probabilities are
    biased (Alexandari, Kundaje, Shrikumar 2020, arXiv 1901.06852). Classes are weighted by their
    frequency among all rows, not among the held-out ones.

    Args:
        p_cal: Probabilities of held-out rows, `[m, k]`.
        y_cal: Their classes, `[m]`.
        counts: Training rows per class, `[k]`.
    """
    if not len(y_cal):
        return np.asarray((counts + 1) / (counts.sum() + len(counts)))
    cal_counts = np.bincount(y_cal, minlength=len(counts))
    weight = (counts / np.maximum(cal_counts, 1))[y_cal]
    mean = np.maximum(weight @ p_cal / weight.sum(), 1e-6)
    return np.asarray(mean / mean.sum())


def estimate_priors_em(p: Probabilities, source: Vector, pseudo_count: float = 1.0) -> Vector:
    """Return the priors `[k]` under which rows are most likely.

    Args:
        p: Probabilities under the priors `source`, `[n, k]`.
        source: Priors that the probabilities imply, `[k]`, > 0.
        pseudo_count: Rows that are added to every class.
    """
    return estimate_class_priors(p / source, source, pseudo_count=pseudo_count)


def estimate_priors_bbse(
    p: Probabilities, p_cal: Probabilities, y_cal: Labels, source: Vector
) -> Vector:
    """Return priors `[k]` by inverting the confusion matrix of predicted labels, clipped at 0.

    Args:
        p: Probabilities of the images, `[n, k]`.
        p_cal: Probabilities of held-out rows, `[m, k]`.
        y_cal: Their classes, `[m]`.
        source: Priors to return where the confusion matrix determines none, `[k]`.
    """
    k = len(source)
    predicted = np.bincount(p.argmax(1), minlength=k) / len(p)
    joint = np.zeros((k, k))
    np.add.at(joint, (p_cal.argmax(1), y_cal), 1 / max(1, len(y_cal)))
    ratio = np.maximum(np.linalg.lstsq(joint, predicted, rcond=1e-6)[0], 0.0)
    target = ratio * np.bincount(y_cal, minlength=k)
    return np.asarray(target / target.sum() if target.sum() > 0 else source)


def compute_standard_error(
    p: Probabilities,
    p_cal: Probabilities,
    source: Vector,
    target: Vector,
    groups: Labels | None = None,
) -> Vector:
    """Return the standard errors of `target`, `[k]`, from the curvature of its likelihood.

    With r_ic = p_ic / source_c and m_i = sum_c r_ic target_c, the score is S_c = sum_i r_ic / m_i
    and the information G = sum_i r_i r_i' / m_i^2. A change of log source changes the target by
    G^-1 (G diag(target) - diag(S)), both restricted to changes that sum to 0.

    Args:
        p: Probabilities of the images, `[n, k]`.
        p_cal: Probabilities of the held-out rows behind `source`, `[m, k]`.
        source: Priors that the probabilities imply, `[k]`.
        target: Estimated priors, `[k]`, > 0.
        groups: Group of each image, `[n]`. Its images vary together, so that the variance is that
            of their summed scores (the sandwich), where that is larger; None makes every image one.
    """
    k = len(target)
    r = p / source
    r /= (r @ target)[:, None]
    information, score = r.T @ r, r.sum(0)
    plane = np.linalg.svd(np.ones((1, k)))[2][1:].T
    inner = plane.T @ (information + np.diag(1 / target**2)) @ plane
    inverse = plane @ np.linalg.solve(inner, plane.T)
    out = np.diag(inverse).copy()
    if groups is not None:
        sums = np.zeros((int(number_groups(groups).max()) + 1, k))
        np.add.at(sums, number_groups(groups), r)
        out = np.maximum(out, np.diag(inverse @ (sums.T @ sums) @ inverse))
    if len(p_cal) > 1:
        sensitivity = inverse @ (information * target - np.diag(score)) / source
        out += np.diag(sensitivity @ np.cov(p_cal.T) @ sensitivity.T) / len(p_cal)
    return np.asarray(np.sqrt(np.maximum(out, 0.0)))
