"""What transductive methods share: unit vectors about the labelled mean, and Gaussian EM.

Labelled and unlabelled rows are in one `Data`. Unit vectors are taken about the mean of the
labelled rows, and class means start from them, so that without unlabelled rows every method here
predicts as the nearest class mean of SimpleShot does (Wang et al. 2019, arXiv 1911.04623).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import labelled_features
from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.linear_models import apply_affine, normalize_rows
from ilk.core.metrics import softmax
from ilk.maths.gaussian import Matrix, compute_class_means
from ilk.maths.inverse_temperature import fit_inverse_temperature
from ilk.maths.leave_group_out import (
    find_groups,
    find_rows_with_other_groups,
    score_without_group,
)
from ilk.maths.leave_one_out import (
    find_rows_with_others,
    leave_one_out_means,
    left_out_weight,
)
from ilk.maths.pca import orthonormal_basis, weighted_mean

MIN_PRIOR = 1e-6  # lower bound on a class prior, so that its logarithm is finite
DEFAULT_INVERSE_TEMPERATURE = 10.0  # where no class has two labelled rows
MAX_INVERSE_TEMPERATURE = 100.0  # upper bound, since few rows may be separated by chance


@dataclass(frozen=True, eq=False)
class CentredCosine:
    """`u @ weight.T + bias` with `u` the unit vector of `x - centre`.

    Attributes:
        centre: `[d]` float32.
        weight: `[k, d]` float32.
        bias: `[k]` float32, `-inf` for a class without labelled rows.
    """

    shapes: ClassVar[dict[str, str]] = {"centre": "d", "weight": "k d", "bias": "k"}

    centre: Features
    weight: Features
    bias: Features

    def logits(self, x: Features) -> Logits:
        """Return scores `[n, k]`, float64."""
        centred = np.asarray(x, np.float64) - self.centre
        return apply_affine(centred, self.weight, self.bias, transform=normalize_rows)


@dataclass(frozen=True, eq=False)
class UnitRows:
    """Rows as unit vectors about the mean of the labelled ones.

    Attributes:
        centre: That mean, `[d]` float32.
        labelled: Unit vectors of the labelled rows, `[n, d]` float64.
        y: Their classes, `[n]`.
        unlabelled: Unit vectors of the unlabelled rows, `[m, d]` float64.
        counts: Labelled rows of each class, or their total weight, `[k]`.
        means: Mean unit vector of each class, `[k, d]` float64; zeros for a class without rows.
        weight: How many times each labelled row counts, `[n]`; None counts each once.
        unlabelled_weight: Likewise for unlabelled rows, `[m]`.
        group: Group number of each labelled row, `[n]`, from 0; None if no two share a group.
    """

    centre: Features
    labelled: Matrix
    y: Labels
    unlabelled: Matrix
    counts: NDArray[Any]
    means: Matrix
    weight: Matrix | None = None
    unlabelled_weight: Matrix | None = None
    group: Labels | None = None

    @classmethod
    def from_data(cls, data: Data, method: object) -> UnitRows:
        """Return the unit vectors of `data` for the method `method`; rows of weight 0 are dropped.

        Raises:
            NoLabels, InputError: As `ilk.core.contracts.labelled_features` says.
        """
        rows = labelled_features(data, method)
        free = data.take((data.y < 0) & (data.weight > 0))
        weight = rows.sample_weight
        centre = weighted_mean(rows.x, weight).astype(np.float32)
        labelled = normalize_rows(rows.x.astype(np.float64) - centre)
        unlabelled = normalize_rows(np.asarray(free.x, np.float64) - centre)
        counts = rows.sum_label_weights()
        means = compute_class_means(labelled, rows.y, counts, weight=weight)
        return cls(
            centre,
            labelled,
            rows.y,
            unlabelled,
            counts,
            means,
            weight,
            free.sample_weight,
            find_groups(rows),
        )

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which classes have labelled rows, `[k]`."""
        return self.counts > 0

    @property
    def class_sums(self) -> Matrix:
        """(Weighted) sum of the labelled rows of each class, `[k, d]`."""
        return np.asarray(self.counts[:, None] * self.means)

    def leave_one_out_means(self) -> Matrix:
        """Return the class mean of each labelled row computed without that row, `[n, d]`.

        For the only row of a class it is the row itself.
        """
        rows, out = find_rows_with_others(self.y, self.counts, self.weight), self.labelled.copy()
        weight = None if self.weight is None else self.weight[rows]
        out[rows] = leave_one_out_means(
            self.labelled[rows], self.y[rows], self.means, self.counts, weight
        )
        return out

    def score_left_out(self, *, normalize: bool = False) -> Matrix:
        """Return leave-one-out scores `u @ mean - |mean|^2 / 2` of labelled rows, `[n, k]`.

        With `normalize`, means have unit length, and scores are cosines minus one half. Where rows
        belong to groups, means leave the whole group out.
        """
        if self.group is not None:
            transform = normalize_rows if normalize else None
            return score_without_group(
                self.labelled,
                self.y,
                self.group,
                self.means,
                self.counts,
                weight=self.weight,
                transform=transform,
            )
        means, own_means = self.means, self.leave_one_out_means()
        if normalize:
            means, own_means = normalize_rows(means), normalize_rows(own_means)
        scores = self.labelled @ means.T - 0.5 * np.sum(means**2, axis=1)
        own_scores = np.sum(self.labelled * own_means, axis=1) - 0.5 * np.sum(own_means**2, axis=1)
        scores[np.arange(len(self.y)), self.y] = own_scores
        return np.asarray(scores)

    def fit_inverse_temperature(self, *, normalize: bool = False) -> float:
        """Return the inverse temperature t with the least leave-one-out log loss on labelled rows.

        It is the precision of a spherical Gaussian, at most `MAX_INVERSE_TEMPERATURE`;
        `DEFAULT_INVERSE_TEMPERATURE` where no class has two rows.
        """
        left_out = left_out_weight(self.weight, len(self.y))
        rows = np.flatnonzero(self.counts[self.y] > left_out + 1e-9)
        if self.group is not None:
            rows = find_rows_with_other_groups(self.y, self.group, self.weight)
        if not len(rows) or self.present.sum() < 2:
            return DEFAULT_INVERSE_TEMPERATURE
        labels = np.searchsorted(np.flatnonzero(self.present), self.y[rows])
        return fit_inverse_temperature(
            self.score_left_out(normalize=normalize)[rows][:, self.present],
            labels,
            1.0,
            MAX_INVERSE_TEMPERATURE,
            weight=None if self.weight is None else self.weight[rows],
        )

    def project_to_span(self) -> tuple[UnitRows, Matrix | None]:
        """Return the rows in coordinates of their span, and its basis `[d, r]`.

        Inner products are the same there and cheaper with fewer rows than features; with more, the
        rows are unchanged and the basis is None.
        """
        rows = np.concatenate([self.labelled, self.unlabelled])
        if len(rows) >= rows.shape[1]:
            return self, None
        basis = orthonormal_basis(rows)
        projected = {
            name: getattr(self, name) @ basis for name in ("labelled", "unlabelled", "means")
        }
        return replace(self, **projected), basis

    def weigh(self, u: Matrix) -> Matrix:
        """Return memberships `u [m, k]` times the weights of the unlabelled rows."""
        return u if self.unlabelled_weight is None else u * self.unlabelled_weight[:, None]

    def update_means(self, u: Matrix) -> Matrix:
        """Return class means `[k, d]` with unlabelled rows added by memberships `u [m, k]`."""
        u = self.weigh(u)
        weight = np.where(self.present, self.counts + u.sum(0), 1.0)
        return np.asarray((self.class_sums + u.T @ self.unlabelled) / weight[:, None])

    def score_unlabelled(self, t: float, means: Matrix, v: Matrix | float = 0.0) -> Matrix:
        """Return `t (x @ mean - |mean|^2 / 2) + v` of the unlabelled rows, `[m, k]`."""
        return np.asarray(self.unlabelled @ (t * means.T) + self.compute_bias(t, means, v))

    def compute_bias(self, t: float, means: Matrix, v: Matrix | float = 0.0) -> Matrix:
        """Return `v - t |mean|^2 / 2`, `[k]`; `-inf` for a class without labelled rows."""
        return np.where(self.present, v - 0.5 * t * np.sum(means**2, axis=1), -np.inf)

    def make_parameters(
        self, t: float, means: Matrix, v: Matrix | float = 0.0
    ) -> tuple[Features, Features, Features]:
        """Return centre `[d]`, weight `[k, d]` and bias `[k]` of the equivalent `CentredCosine`."""
        bias = self.compute_bias(t, means, v).astype(np.float32)
        return self.centre, (t * means).astype(np.float32), bias


def run_gaussian_em(
    rows: UnitRows, t: float, balance: Sequence[float], scale: Sequence[float]
) -> tuple[Matrix, Matrix]:
    """Return class means `[k, d]` and log class priors `[k]` after EM.

        E    u_nk = softmax_k(s t (x_n . w_k - |w_k|^2 / 2) + balance v_k)
        M    w_k = (sum of labelled rows + sum_n u_nk x_n) / (their count + sum_n u_nk)
             v_k = log mean_n u_nk

    over unlabelled rows x_n, starting at the means of the labelled rows and v = 0, which are the
    result where there are no unlabelled rows.

    Args:
        rows: Labelled and unlabelled rows.
        t: Inverse temperature.
        balance: Weight of the log priors in each iteration.
        scale: Factor s of the inverse temperature in each iteration, as many.
    """
    v = np.zeros(len(rows.counts))
    if not len(rows.unlabelled) or not len(balance):
        return rows.means, v
    reduced, _ = rows.project_to_span()
    means = reduced.means
    for b, s in zip(balance, scale, strict=True):
        u = softmax(reduced.score_unlabelled(s * t, means, b * v), axis=1)
        means, v = reduced.update_means(u), compute_log_priors(u, rows.unlabelled_weight)
    return rows.update_means(u), v


def compute_log_priors(u: Matrix, weight: Matrix | None = None) -> Matrix:
    """Return the log of the mean membership of each class, `[k]`, at least log `MIN_PRIOR`.

    Args:
        u: Memberships, `[m, k]`.
        weight: How many times each row counts, `[m]`; None counts each once.
    """
    return np.asarray(np.log(np.maximum(weighted_mean(u, weight), MIN_PRIOR)))


def check_em(balance: float, n_iter: int) -> None:
    """Check the hyperparameters of an EM method.

    Raises:
        ValueError: If `balance` is negative or not finite, or `n_iter` is below 1.
    """
    if not 0 <= balance < np.inf:
        raise ValueError(f"balance is {balance}; it must be at least 0")
    if n_iter < 1:
        raise ValueError(f"n_iter is {n_iter}; at least 1 is needed")
