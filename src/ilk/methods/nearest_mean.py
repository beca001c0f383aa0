"""Nearest class mean of rows centred and scaled to unit length.

Yan Wang, Wei-Lun Chao, Kilian Q. Weinberger, Laurens van der Maaten, 2019, SimpleShot: Revisiting
Nearest-Neighbor Classification for Few-Shot Learning, arXiv 1911.04623, equations 2 to 4.

    u = (x - centre) / |x - centre|,  score_c(x) = -t |u - mean_c(u)|^2 / 2

Departure: the inverse temperature t is not part of the paper and changes no prediction; it has the
least log loss on rows scored by leave-one-out.

`update` averages new rows about the centre of the first fit, so that no old row is needed; its
result therefore differs from that of fitting all rows together, whose centre would be another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.errors import InputError
from ilk.core.linear_models import apply_affine, normalize_rows
from ilk.core.row_stream import RowStream
from ilk.core.statistics import Statistics
from ilk.maths.folds import has_shared_groups, number_groups
from ilk.maths.gaussian import compute_class_means, sum_by_class
from ilk.maths.inverse_temperature import fit_inverse_temperature, select_rows
from ilk.maths.leave_group_out import (
    find_groups,
    find_rows_with_other_groups,
    is_alone,
    score_without_group,
)
from ilk.maths.leave_one_out import (
    compute_nearest_mean_logits,
    find_rows_with_others,
    leave_one_out_means,
)
from ilk.maths.pca import weighted_mean, weighted_variance

MIN_SCALE_RATIO = 0.1  # lower bound on a feature's scale, as a fraction of the mean scale
BLOCK_SIZE = 1024  # rows scored at a time to fit the inverse temperature
DEFAULT_INVERSE_TEMPERATURE = 10.0  # where no class has two rows


@dataclass(frozen=True, eq=False)
class NormalizedMeans:
    """`u @ weight.T + bias` with `u` the direction of `(x - centre) / scale`.

    Attributes:
        centre: `[d]` float32.
        scale: `[d]` float32, above 0.
        weight: `[k, d]` float32.
        bias: `[k]` float32, `-inf` for a class without rows.
        counts: Rows behind each mean, or their total weight, `[k]`; None in a model that cannot be
            updated.
        inverse_temperature: The factor t; `weight` is t times the class means.
    """

    kind: ClassVar[str] = "normalized_means"
    shapes: ClassVar[dict[str, str]] = {
        "centre": "d",
        "scale": "d",
        "weight": "k d",
        "bias": "k",
        "counts": "k",
    }

    centre: Features
    scale: Features
    weight: Features
    bias: Features
    counts: NDArray[Any] | None = None
    inverse_temperature: float = 1.0

    def logits(self, x: Features) -> Logits:
        """Scores `[n, k]`, float64."""
        return apply_affine(x, self.weight, self.bias, transform=self.normalize)

    def normalize(self, x: Features) -> NDArray[np.float64]:
        """Return the directions `u [n, d]` of features `x [n, d]`."""
        return _normalize(x, self.centre, self.scale)


@dataclass(frozen=True)
class NearestClassMean(MethodTags):
    """Nearest class mean on the unit sphere.

    Attributes:
        standardize: Divide each feature by its standard deviation before rows are scaled to unit
            length.
    """

    default_candidate = True
    fit_cost = 0.1
    one_vs_rest = True
    supports_weights = True

    standardize: bool = False

    def fit(self, data: Data) -> NormalizedMeans:
        labelled = labelled_features(data, self)
        weight = labelled.sample_weight
        centre = weighted_mean(labelled.x, weight).astype(np.float32)
        scale = np.ones(labelled.x.shape[1], np.float32)
        if self.standardize:
            scale = _choose_scale(weighted_variance(labelled.x, weight))
        counts = labelled.sum_label_weights()
        normalize = partial(_normalize, centre=centre, scale=scale)
        means = compute_class_means(
            labelled.x, labelled.y, counts, weight=weight, transform=normalize
        )
        scored = _Scored(
            labelled.x.__getitem__, labelled.y, labelled.sample_weight, find_groups(labelled)
        )
        inverse_temperature = _estimate_inverse_temperature(normalize, scored, means, counts)
        return _make_model(centre, scale, means, counts, inverse_temperature)

    def fit_stream(self, rows: RowStream) -> NormalizedMeans:
        """Return the model of rows that are read block by block: one pass after that of the sums.

        The inverse temperature rests on the same rows as in `fit`, which are held.
        """
        stats, k = rows.statistics, len(rows.classes)
        centre = stats.centre.astype(np.float32)
        scale = np.ones(rows.d, np.float32)
        if self.standardize:
            between = stats.counts @ (stats.means - stats.centre) ** 2
            scale = _choose_scale((np.diagonal(stats.scatter) + between) / stats.n)
        sums, counts = np.zeros((k, rows.d)), stats.counts
        for at, x in rows.iterate():
            sums += sum_by_class(_normalize(x, centre, scale), rows.y[at], k)
        means = sums / np.where(counts > 0, counts, 1)[:, None]
        normalize = partial(_normalize, centre=centre, scale=scale)
        group = number_groups(rows.group) if has_shared_groups(rows.group) else None
        scored = _Scored(rows.take, rows.y, None, group)
        inverse_temperature = _estimate_inverse_temperature(normalize, scored, means, counts)
        return _make_model(centre, scale, means, counts, inverse_temperature)

    def update(self, model: NormalizedMeans, data: Data) -> NormalizedMeans:
        """Return the model with the labelled rows of `data` added, about the centre of `model`.

        Raises:
            ValueError: If the two have different numbers of classes.
            InputError: If the model was saved by a version of ilk that did not count its rows.
        """
        if data.k != len(model.bias):
            raise ValueError(f"the model knows {len(model.bias)} classes, the data {data.k}")
        if model.counts is None:
            raise InputError("this model does not record its number of training rows; fit it again")
        if not ((data.y >= 0) & (data.weight > 0)).any():
            return model
        labelled = labelled_features(data, self)
        new_counts = labelled.sum_label_weights()
        counts = model.counts + new_counts
        new_fraction = (new_counts / np.where(counts > 0, counts, 1))[:, None]
        old_means = model.weight / model.inverse_temperature
        new_means = compute_class_means(
            labelled.x,
            labelled.y,
            new_counts,
            weight=labelled.sample_weight,
            transform=model.normalize,
        )
        means = (1 - new_fraction) * old_means + new_fraction * new_means
        return _make_model(model.centre, model.scale, means, counts, model.inverse_temperature)

    def extend(
        self, model: NormalizedMeans, added: Data, statistics: Statistics
    ) -> NormalizedMeans:
        """Return `model` updated with `added`; classes without added rows stay as they are."""
        n_new, added_counts = added.k - len(model.bias), added.sum_label_weights()
        padded = replace(
            model,
            weight=np.pad(model.weight, ((0, n_new), (0, 0))),
            bias=np.pad(model.bias, (0, n_new), constant_values=-np.inf),
            counts=statistics.counts - added_counts,
        )
        updated, is_unchanged = self.update(padded, added), added_counts == 0
        return replace(
            updated,
            weight=np.where(is_unchanged[:, None], padded.weight, updated.weight),
            bias=np.where(is_unchanged, padded.bias, updated.bias),
        )

    def leave_one_out_logits(
        self,
        model: NormalizedMeans,
        x: Features,
        y: Labels,
        statistics: Statistics,
        group: Labels | None = None,
    ) -> Logits:
        """Return logits `[m, k]` of rows `x [m, d]` of classes `y [m]`, each group left out."""
        t = model.inverse_temperature
        means = model.weight.astype(np.float64) / t
        if group is not None:
            number = number_groups(group)
            u, counts = model.normalize(x), statistics.counts
            scores = score_without_group(u, y, number, means, counts)
            logits = np.where(counts > 0, t * scores, -np.inf)
            alone = is_alone(y, number, counts)
            logits[alone, y[alone]] = -np.inf
            return logits
        return compute_nearest_mean_logits(model.normalize(x), y, means, statistics.counts, t)


def _make_model(
    centre: Features,
    scale: Features,
    means: NDArray[np.float64],
    counts: NDArray[Any],
    inverse_temperature: float,
) -> NormalizedMeans:
    bias = np.where(counts > 0, -0.5 * inverse_temperature * np.sum(means**2, axis=1), -np.inf)
    weight = (inverse_temperature * means).astype(np.float32)
    return NormalizedMeans(
        centre, scale, weight, bias.astype(np.float32), counts, inverse_temperature
    )


def _choose_scale(variance: NDArray[np.float64]) -> Features:
    """Return the divisor of each feature, `[d]`, from its variance."""
    deviation = np.sqrt(variance)
    scale = np.maximum(deviation, MIN_SCALE_RATIO * deviation.mean()).astype(np.float32)
    return np.where(scale > 0, scale, np.float32(1))


def _normalize(x: Features, centre: Features, scale: Features) -> NDArray[np.float64]:
    return np.asarray(normalize_rows((np.asarray(x, np.float64) - centre) / scale))


@dataclass(frozen=True, eq=False)
class _Scored:
    """Training rows of which some are scored by leave-one-out.

    Attributes:
        take: Returns the features `[m, d]` of rows at positions `[m]`, ascending.
        y: Class of each row, `[n]`.
        weight: How many times each row counts, `[n]`; None counts each once.
        group: Group number of each row, `[n]`, from 0; None makes every row one.
    """

    take: Callable[[Labels], Features]
    y: Labels
    weight: NDArray[np.float64] | None
    group: Labels | None


def _estimate_inverse_temperature(
    normalize: Callable[[Features], NDArray[np.float64]],
    train: _Scored,
    means: NDArray[np.float64],
    counts: NDArray[Any],
) -> float:
    """Fit t to the leave-one-out scores of the rows whose class has other rows.

    Where rows belong to groups, whole groups are left out.
    """
    if train.group is not None:
        return _estimate_by_groups(normalize, train, means, counts, train.group)
    rows = find_rows_with_others(train.y, counts, train.weight)
    rows = rows[select_rows(len(rows))]  # no other row is scored
    if not len(rows) or np.sum(counts > 0) < 2:
        return DEFAULT_INVERSE_TEMPERATURE
    x, y, scores = train.take(rows), train.y[rows], np.empty((len(rows), len(means)))
    weight = None if train.weight is None else train.weight[rows]
    for at in range(0, len(rows), BLOCK_SIZE):
        part = slice(at, at + BLOCK_SIZE)
        u, c = normalize(x[part]), y[part]
        own = leave_one_out_means(u, c, means, counts, None if weight is None else weight[part])
        scores[part] = u @ means.T - 0.5 * np.sum(means**2, axis=1)
        own_scores = np.sum(u * own, axis=1) - 0.5 * np.sum(own**2, axis=1)
        scores[np.arange(at, at + len(c)), c] = own_scores
    labels = np.searchsorted(np.flatnonzero(counts), y)
    return fit_inverse_temperature(scores[:, counts > 0], labels, weight=weight)


def _estimate_by_groups(
    normalize: Callable[[Features], NDArray[np.float64]],
    train: _Scored,
    means: NDArray[np.float64],
    counts: NDArray[Any],
    group: Labels,
) -> float:
    """Fit t to scores of the rows of some groups `[n]`, each without any row of its group."""
    weight = train.weight
    with_others = find_rows_with_other_groups(train.y, group, weight)
    scored = with_others[select_rows(len(with_others))]
    if not len(scored) or np.sum(counts > 0) < 2:
        return DEFAULT_INVERSE_TEMPERATURE
    rows = np.flatnonzero(np.isin(group, group[scored]))  # with all members of the groups
    scores = score_without_group(
        normalize(train.take(rows)),
        train.y[rows],
        np.unique(group[rows], return_inverse=True)[1],
        means,
        counts,
        weight=None if weight is None else weight[rows],
    )[np.searchsorted(rows, scored)]
    labels = np.searchsorted(np.flatnonzero(counts), train.y[scored])
    row_weight = None if weight is None else weight[scored]
    return fit_inverse_temperature(scores[:, counts > 0], labels, weight=row_weight)
