"""Prototype calibration: prototypes of few-shot classes move towards similar base classes.

Qi-Wei Wang, Da-Wei Zhou, Yi-Kai Zhang, De-Chuan Zhan, Han-Jia Ye, 2023, Few-Shot Class-Incremental
Learning via Training-Free Prototype Calibration, arXiv 2312.05229.

    c, b      unit class means of a new class and of the base classes, about a centre
    w_b     = softmax_b(tau cos(c, b)),  delta = unit(sum_b w_b b)
    c'      = (1 - alpha) c + alpha delta,  score_c(x) = t cos(x - centre, c')

Departures: features come from any frozen encoder, none trained for cosines, so they are centred on
the mean of the base rows (`centre_features=False` leaves them as they are, as in the paper).
`alpha` and `tau` are chosen without labels of new classes: base classes are hidden in turn and come
back with a few rows, and the pair with the best harmonic mean of the accuracies on hidden and other
base classes is taken. The inverse temperature t changes no prediction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.linear_models import normalize_rows
from ilk.core.metrics import softmax
from ilk.maths.gaussian import compute_class_means
from ilk.maths.inverse_temperature import fit_inverse_temperature
from ilk.maths.leave_group_out import (
    find_groups,
    find_rows_with_other_groups,
    score_without_group,
)
from ilk.maths.leave_one_out import find_rows_with_others, leave_one_out_means
from ilk.maths.pca import weighted_mean
from ilk.training.continual import select_update_rows

Matrix = NDArray[np.float64]
ALPHAS, TAUS = tuple(np.arange(10) / 10), (1.0, 4.0, 16.0, 64.0)
DEFAULTS = (0.5, 16.0)  # those of the released code, used with too few base classes to hide some
QUERIES = 20  # rows per class that evaluate a pair
DEFAULT_INVERSE_TEMPERATURE = 10.0  # where no class has two rows


@dataclass(frozen=True, eq=False)
class CalibratedPrototypes:
    """Class means from which calibrated prototypes are computed.

    Attributes:
        centre: Subtracted from the features, `[d]` float32.
        means: Mean of each class minus the centre, `[k, d]` float32.
        counts: Rows behind each mean, or their total weight, `[k]`.
        is_base: 1 for a class of the first fit, else 0, `[k]` int64.
        alpha: Calibration strength, in [0, 1].
        tau: Inverse temperature of the softmax over base classes.
        inverse_temperature: Multiplier of the cosines, > 0.
    """

    kind: ClassVar[str] = "calibrated_prototypes"
    shapes: ClassVar[dict[str, str]] = {
        "centre": "d",
        "means": "k d",
        "counts": "k",
        "is_base": "k",
    }

    centre: Features
    means: Features
    counts: NDArray[Any]
    is_base: Labels
    alpha: float
    tau: float
    inverse_temperature: float

    def compute_prototypes(self) -> Matrix:
        """Return unit prototypes, `[k, d]`; zeros for a class without rows."""
        unit: Matrix = normalize_rows(self.means)
        base = self.is_base > 0
        new = (self.counts > 0) & ~base
        unit[new] = calibrate_prototypes(unit[new], unit[base], self.alpha, self.tau)
        return unit

    def logits(self, x: Features) -> Logits:
        """Return scores `[n, k]`, float64."""
        bias = np.where(self.counts > 0, 0.0, -np.inf)
        u: Matrix = normalize_rows(np.asarray(x, np.float64) - self.centre)
        return self.inverse_temperature * u @ self.compute_prototypes().T + bias


def calibrate_prototypes(new: Matrix, base: Matrix, alpha: float, tau: float) -> Matrix:
    """Return unit prototypes `new [m, d]` moved towards a mixture of unit `base [b, d]`."""
    mixture = normalize_rows(softmax(tau * new @ base.T, axis=1) @ base)
    return np.asarray(normalize_rows((1 - alpha) * new + alpha * mixture))


@dataclass(frozen=True)
class TEEN(MethodTags):
    """Cosine prototypes; those of classes added by `update` are calibrated.

    Attributes:
        alpha: Weight in [0, 1] of the mixture of base prototypes. None chooses it by hiding base
            classes.
        tau: Inverse temperature of the mixture, >= 0. None chooses it likewise.
        centre_features: Subtract the mean of the base rows from the features.
        shots: Rows per hidden class, >= 1: as many as new classes will have.
        trials: Number of random draws of hidden classes, >= 1.
        seed: Seed of those draws.
    """

    supports_weights = True

    alpha: float | None = None
    tau: float | None = None
    centre_features: bool = True
    shots: int = 5
    trials: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha is {self.alpha}; it must be in [0, 1], or None to choose it")
        if self.tau is not None and not 0 <= self.tau < np.inf:
            raise ValueError(f"tau is {self.tau}; it must be at least 0, or None to choose it")
        if self.shots < 1 or self.trials < 1:
            raise ValueError(f"shots is {self.shots}, trials {self.trials}; both must be >= 1")

    def fit(self, data: Data) -> CalibratedPrototypes:
        labelled = labelled_features(data, self)
        x, counts = labelled.x.astype(np.float64), labelled.sum_label_weights()
        centre = (weighted_mean(x, labelled.sample_weight) * self.centre_features).astype(
            np.float32
        )
        x -= centre
        means = compute_class_means(x, labelled.y, counts, weight=labelled.sample_weight)
        alpha, tau = self._choose_hyperparameters(replace(labelled, x=x))
        inverse_temperature = _estimate_inverse_temperature(replace(labelled, x=x), means, counts)
        base = (counts > 0).astype(np.int64)
        return CalibratedPrototypes(
            centre, means.astype(np.float32), counts, base, alpha, tau, inverse_temperature
        )

    def update(self, model: CalibratedPrototypes, data: Data) -> CalibratedPrototypes:
        """Return the model with the labelled rows of `data`; new classes are calibrated.

        Raises:
            ValueError: If the two have different numbers of classes.
        """
        labelled = select_update_rows(len(model.counts), data, self)
        if labelled is None:
            return model
        new_counts, x = labelled.sum_label_weights(), labelled.x.astype(np.float64) - model.centre
        means = compute_class_means(x, labelled.y, new_counts, weight=labelled.sample_weight)
        counts = model.counts + new_counts
        new_fraction = (new_counts / np.where(counts > 0, counts, 1))[:, None]
        mean = ((1 - new_fraction) * model.means + new_fraction * means).astype(np.float32)
        return replace(model, means=mean, counts=counts)

    def _choose_hyperparameters(self, labelled: Data) -> tuple[float, float]:
        """Return `alpha` and `tau` as given, or the best pair for hidden base classes."""
        alphas = ALPHAS if self.alpha is None else (self.alpha,)
        taus = TAUS if self.tau is None else (self.tau,)
        pairs = [(alpha, tau) for tau in taus for alpha in alphas]
        eligible = np.flatnonzero(labelled.count_labels() > self.shots)
        if len(pairs) == 1 or len(eligible) < 3:
            choices = zip((self.alpha, self.tau), DEFAULTS, strict=True)
            alpha, tau = (default if given is None else given for given, default in choices)
            return alpha, tau
        rng, total = np.random.default_rng(self.seed), np.zeros(len(pairs))
        for _ in range(self.trials):
            total += self._score_hidden_classes(labelled, rng.permutation(eligible), pairs, rng)
        alpha, tau = pairs[int(total.argmax())]
        return float(alpha), float(tau)

    def _score_hidden_classes(
        self,
        labelled: Data,
        order: Labels,
        pairs: list[tuple[float, float]],
        rng: np.random.Generator,
    ) -> Matrix:
        """Return the harmonic mean accuracy of each pair, the first third of `order` hidden."""
        n_new, x, weight = max(1, len(order) // 3), labelled.x, labelled.sample_weight
        class_rows = [rng.permutation(np.flatnonzero(labelled.y == c)) for c in order]
        split_at = [self.shots] * n_new + [
            len(r) - min(QUERIES, len(r) // 2) for r in class_rows[n_new:]
        ]
        support = [r[:n] for r, n in zip(class_rows, split_at, strict=True)]
        queries = [r[n : n + QUERIES] for r, n in zip(class_rows, split_at, strict=True)]

        def mean(rows: Labels) -> Any:
            return weighted_mean(x[rows], None if weight is None else weight[rows])

        centre = mean(np.concatenate(support[n_new:])) * self.centre_features
        unit: Matrix = normalize_rows([mean(r) - centre for r in support])
        truth, rows = (
            np.repeat(np.arange(len(order)), [len(r) for r in queries]),
            np.concatenate(queries),
        )
        scores = _iterate_cosines(normalize_rows(x[rows] - centre), unit, n_new, pairs)
        row_weight = None if weight is None else weight[rows]
        return np.array(
            [
                _harmonic_mean_accuracy(s.argmax(1) == truth, truth < n_new, row_weight)
                for s in scores
            ]
        )


def _iterate_cosines(
    u: Matrix, unit: Matrix, n_new: int, pairs: list[tuple[float, float]]
) -> Iterator[Matrix]:
    """Yield the cosines of `u` with the prototypes for each pair, the first `n_new` calibrated."""
    new_cosines, base_cosines, last = u @ unit[:n_new].T, u @ unit[n_new:].T, None
    for alpha, tau in pairs:
        if tau != last:
            mixture, last = calibrate_prototypes(unit[:n_new], unit[n_new:], 1.0, tau), tau
            mixture_cosines, between = u @ mixture.T, np.sum(unit[:n_new] * mixture, axis=1)
        length = np.sqrt((1 - alpha) ** 2 + alpha**2 + 2 * alpha * (1 - alpha) * between)
        calibrated_cosines = ((1 - alpha) * new_cosines + alpha * mixture_cosines) / np.maximum(
            length, 1e-12
        )
        yield np.concatenate([calibrated_cosines, base_cosines], axis=1)


def _harmonic_mean_accuracy(
    is_correct: NDArray[np.bool_], is_new: NDArray[np.bool_], weight: Matrix | None
) -> float:
    """Return the harmonic mean of the accuracies on `is_new [n]` rows and on the others."""
    new, base = (
        float(np.average(is_correct[part], weights=None if weight is None else weight[part]))
        for part in (is_new, ~is_new)
    )
    return 2 * new * base / max(new + base, 1e-12)


def _estimate_inverse_temperature(labelled: Data, means: Matrix, counts: NDArray[Any]) -> float:
    """Fit t to the leave-one-out scores of the rows whose class has other rows."""
    rows = find_rows_with_others(labelled.y, counts, labelled.sample_weight)
    if not len(rows) or np.sum(counts > 0) < 2:
        return DEFAULT_INVERSE_TEMPERATURE
    if (group := find_groups(labelled)) is not None:
        rows = find_rows_with_other_groups(labelled.y, group, labelled.sample_weight)
        if not len(rows):
            return DEFAULT_INVERSE_TEMPERATURE
        scores = score_without_group(
            np.asarray(labelled.x, np.float64),
            labelled.y,
            group,
            means,
            counts,
            weight=labelled.sample_weight,
            transform=normalize_rows,
            halved_norm=False,
        )[rows]
        scores /= np.maximum(np.linalg.norm(labelled.x[rows], axis=1, keepdims=True), 1e-12)
        labels = np.searchsorted(np.flatnonzero(counts), labelled.y[rows])
        weight = None if labelled.sample_weight is None else labelled.weight[rows]
        return fit_inverse_temperature(scores[:, counts > 0], labels, weight=weight)
    x, y = labelled.x[rows], labelled.y[rows]
    weight = None if labelled.sample_weight is None else labelled.weight[rows]
    u, own_means = normalize_rows(x), leave_one_out_means(x, y, means, counts, weight)
    scores = u @ normalize_rows(means).T
    scores[np.arange(len(y)), y] = np.sum(u * normalize_rows(own_means), axis=1)
    labels = np.searchsorted(np.flatnonzero(counts), y)
    return fit_inverse_temperature(scores[:, counts > 0], labels, weight=weight)
