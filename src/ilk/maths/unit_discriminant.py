"""Linear discriminants of the directions of rows, and whether they beat those of the rows.

The length of a feature vector tells how strongly an image excites a network, and little about its
class; what all images share tells nothing. With a few rows the covariance does not show either yet.
Rows are therefore scaled to unit length, centred and scaled to unit length again,

    u = (x / |x| - c) / |x / |x| - c|,  c = mean over training rows of x / |x|

(without the first scaling: Wang et al. 2019, SimpleShot, arXiv 1911.04623, equation 3, which was
less accurate with one to four rows per class, and so were unit rows alone). `choose_rows` compares
these with the rows as they are by the log loss of leave-one-out scores, each at its own best
temperature; most classes need a second row for that, and without, rows are centred. The benchmark
`gda_clip` compares them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.linear_models import Linear, normalize_rows
from ilk.core.metrics import log_softmax
from ilk.core.statistics import Statistics
from ilk.core.unit_gaussian import UnitGaussian, normalize_about
from ilk.maths.covariance import Shrinkage
from ilk.maths.gaussian import (
    Matrix,
    RowSpan,
    compute_class_means,
    compute_statistics,
    fit_linear_discriminant,
)
from ilk.maths.inverse_temperature import fit_inverse_temperature
from ilk.maths.leave_group_out import (
    compute_gaussian_logits_by_fold,
    find_groups,
    find_rows_with_other_groups,
)
from ilk.maths.leave_one_out import compute_gaussian_logits, find_rows_with_others
from ilk.maths.pca import weighted_mean
from ilk.maths.row_discriminant import fit_rows_discriminant

RAW, UNIT, CENTRED = ROW_FORMS = ("raw", "unit", "centred")
FEW_ROWS = 20  # per class, on average; with as many, the covariance shows what matters
MAX_SCORED = 1000  # left-out rows, spread evenly: enough to compare two losses
MIN_FEATURES = 16  # with fewer, directions lose too much


def choose_rows(labelled: Data, shrink: Shrinkage = None, uniform: bool = False) -> str:
    """Return "raw" or "centred": which form of rows `[n, d]` the discriminant reads.

    Args:
        labelled: Labelled rows with positive weights; groups are left out as a whole.
        shrink: Shrinkage of the covariance, as in `ilk.maths.covariance.estimate_covariance`.
        uniform: Assume equal priors for all classes with rows.
    """
    counts = labelled.sum_label_weights()
    if not has_few_rows(counts, labelled.x.shape[1]):
        return RAW
    weight, group = labelled.sample_weight, find_groups(labelled)
    scored = (
        find_rows_with_others(labelled.y, counts, weight)
        if group is None
        else find_rows_with_other_groups(labelled.y, group, weight)
    )
    if 2 * labelled.weight[scored].sum() < counts.sum():
        return CENTRED
    centred = normalize_about(labelled.x, _find_centre(labelled.x, weight)).astype(np.float32)
    losses = [
        measure_left_out_loss(labelled, x, scored, group, shrink, uniform)
        for x in (labelled.x, centred)
    ]
    return CENTRED if losses[1] < losses[0] else RAW


def has_few_rows(counts: NDArray[Any], n_features: int) -> bool:
    """Return whether directions may beat rows; `counts [k]` are the rows of each class."""
    n_classes = int(np.sum(counts > 0))
    is_few = counts.sum() < FEW_ROWS * n_classes
    return bool(is_few and n_features >= MIN_FEATURES and n_classes > 1)


def fit_unit_discriminant(
    x: Features,
    y: Labels,
    k: int,
    rows: str = CENTRED,
    shrink: Shrinkage = None,
    uniform: bool = False,
    weight: Matrix | None = None,
) -> UnitGaussian:
    """Return the log posterior of Gaussians on the directions of rows.

    Args:
        x: Rows, `[n, d]`.
        y: Class of each row, `[n]`, 0 to k - 1.
        k: Number of classes.
        rows: "unit", or "centred" for directions from the mean of the unit rows.
        shrink: Shrinkage, as in `ilk.maths.covariance.estimate_covariance`.
        uniform: Assume equal priors for all classes with rows.
        weight: How many times each row counts, `[n]`, > 0; None counts each once.
    """
    centre = np.zeros(x.shape[1], np.float32)
    if rows == CENTRED:
        centre = _find_centre(x, weight)
    u = normalize_about(x, centre).astype(np.float32)
    counts = np.bincount(y, weight, minlength=k)
    means = compute_class_means(u, y, counts, weight=weight)
    residuals = u - means[y]
    if weight is not None:
        residuals = residuals * np.sqrt(weight)[:, None]
    linear = fit_rows_discriminant(u, y, k, shrink, uniform, weight)
    return _make_model(centre, linear, counts, means, residuals)


def extend_unit_discriminant(
    model: UnitGaussian, added: Data, shrink: Shrinkage = None, uniform: bool = False
) -> UnitGaussian:
    """Return `model` of its rows and those of `added`, whose further classes come last.

    The centre remains that of the first rows.
    """
    labelled = added.take((added.y >= 0) & (added.weight > 0))
    n_new = added.k - len(model.bias)
    old_counts = np.pad(model.counts, (0, n_new))
    old_means = np.pad(model.means.astype(np.float64), ((0, n_new), (0, 0)))
    u, counts = model.normalize(labelled.x), labelled.sum_label_weights()
    own = compute_class_means(u, labelled.y, counts, weight=labelled.sample_weight)
    merged = old_counts + counts
    share = counts / np.where(merged > 0, merged, 1)
    means = old_means + (own - old_means) * share[:, None]
    between = (own - old_means) * np.sqrt(old_counts * share)[:, None]
    weight = np.sqrt(labelled.weight)[:, None]
    residuals = np.vstack(
        [model.residuals.astype(np.float64), weight * (u - own[labelled.y]), between[counts > 0]]
    )
    stats = Statistics(merged, means, residuals.T @ residuals)
    linear = fit_linear_discriminant(stats, shrink, uniform)
    return _make_model(model.centre, linear, merged, means, residuals)


def leave_out_of_unit_discriminant(
    model: UnitGaussian,
    x: Features,
    y: Labels,
    group: Labels | None = None,
    shrink: Shrinkage = None,
    uniform: bool = False,
) -> Logits:
    """Return logits `[m, k]` of rows `x [m, d]` of classes `y [m]`, each, or its group, left out.

    The centre and the shrinkage intensity keep their values.
    """
    u, stats = model.normalize(x), model.statistics
    if group is not None:
        return compute_gaussian_logits_by_fold(stats, u, y, group, shrink, uniform)
    return compute_gaussian_logits(stats, u, y, shrink, uniform)


def _find_centre(x: Features, weight: Matrix | None) -> Features:
    """Return the mean of unit rows, `[d]`."""
    return np.asarray(weighted_mean(normalize_rows(x), weight), np.float32)


def _make_model(
    centre: Features, linear: Linear, counts: NDArray[Any], means: Matrix, residuals: Matrix
) -> UnitGaussian:
    if len(residuals) > residuals.shape[1]:
        residuals = np.linalg.qr(np.asarray(residuals, np.float64))[1]
    return UnitGaussian(
        centre,
        linear.weight,
        linear.bias,
        counts,
        means.astype(np.float32),
        np.asarray(residuals, np.float32),
    )


def measure_left_out_loss(
    labelled: Data,
    x: Features,
    scored: NDArray[np.int64],
    group: Labels | None,
    shrink: Shrinkage,
    uniform: bool,
) -> float:
    """Return the log loss of left-out rows, at the temperature that makes it least.

    Args:
        labelled: Labelled rows with their weights; their features are not read.
        x: The features to use in place of theirs, `[n, d]`.
        scored: Positions of the rows that are left out, one after the other, `[m]`.
        group: Group number of each row, `[n]`, which is left out as a whole; None leaves out rows.
        shrink: Shrinkage, as in `ilk.maths.covariance.estimate_covariance`.
        uniform: Assume equal priors for all classes with rows.
    """
    scored = scored[:: max(1, -(-len(scored) // MAX_SCORED))]
    y, k, weight = labelled.y, labelled.k, labelled.sample_weight
    span = RowSpan.from_rows(x)
    stats = compute_statistics(span.x, y, k, weight=weight)
    if group is None:
        logits = compute_gaussian_logits(
            stats,
            span.x[scored],
            y[scored],
            shrink,
            uniform,
            n_features=x.shape[1],
            weight=None if weight is None else weight[scored],
        )
    else:
        logits = compute_gaussian_logits_by_fold(
            stats, span.x, y, group, shrink, uniform, n_features=x.shape[1], weight=weight
        )[scored]
    is_finite = np.isfinite(logits[np.arange(len(scored)), y[scored]])
    if not is_finite.any():
        return np.inf
    scored, present = scored[is_finite], stats.present
    scores = logits[is_finite][:, present]
    labels = np.searchsorted(np.flatnonzero(present), y[scored])
    own_weight = None if weight is None else weight[scored]
    temperature = fit_inverse_temperature(scores, labels, weight=own_weight)
    losses = -log_softmax(temperature * scores, axis=1)[np.arange(len(scored)), labels]
    return float(np.average(losses, weights=own_weight))
