"""Predicts the Fréchet mean of the class probabilities under a metric between classes.

Nicholas Roberts, Xintong Li, Dyah Adila, Sonia Cromp, Tzu-Heng Huang, Jitian Zhao, Frederic Sala,
2023, Geometry-Aware Adaptation for Pretrained Models, arXiv 2307.12226, equation 1.

    score_y(x) = - sum_c P(c | x) D(y, c)^2      c over classes with labelled rows, y over all

P is logistic regression on the labelled rows, its penalty chosen by cross-validation. D is
`Data.class_distances` (paths in a tree, angles on a circle), or else the Euclidean distance between
the embeddings of two classes: text embeddings, attributes, or other coordinates of any width in
which similar classes are close. A class without a single labelled row is predicted where the
probabilities are spread over the classes around it; how far they spread depends on a temperature.
Where all classes have rows it is 1, at which the probabilities are calibrated. Where some have
none, it is the temperature with the least distance between predicted and true class when classes
with rows are hidden in turn, the same fraction of them as has no rows. What unseen classes gain,
seen ones lose: where probabilities spread over the neighbours of a seen class, one of the unseen
ones may be predicted in its place. Not every class can be predicted: `is_reachable` says which
(the paper's locus of the Fréchet mean).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import NO_CLASS_KNOWLEDGE, Data, Features, Labels, Logits
from ilk.core.errors import InputError
from ilk.core.linear_models import Linear, apply_affine
from ilk.core.metrics import softmax
from ilk.maths import folds
from ilk.maths.logistic_regression import RegressionResult, check_regression, fit_regression
from ilk.maths.pca import weighted_mean

Matrix = NDArray[np.float64]
INVERSE_TEMPERATURES = 2.0 ** -np.arange(0, 9, 0.5)  # candidates
MAX_TEST_ROWS = 2000  # rows that evaluate the candidates


@dataclass(frozen=True, eq=False)
class FrechetMeanClassifier:
    """A linear classifier of the classes with labelled rows, and the distances of all to those.

    Attributes:
        weight: `[m, d]` float32, of the m classes with rows, divided by the temperature.
        bias: `[m]` float32, likewise.
        squared_distances: Squared distance of each class to each class with rows, `[k, m]` float32,
            divided by the mean over pairs of classes.
    """

    kind: ClassVar[str] = "frechet_mean_classifier"
    shapes: ClassVar[dict[str, str]] = {"weight": "m d", "bias": "m", "squared_distances": "k m"}

    weight: Features
    bias: Features
    squared_distances: Features

    def predict_proba(self, x: Features) -> Logits:
        """Return probabilities of the classes with rows, `[n, m]` float64."""
        return np.asarray(softmax(apply_affine(x, self.weight, self.bias), axis=1))

    def logits(self, x: Features) -> Logits:
        """Return minus the expected squared distance to each class, `[n, k]` float64, at most 0."""
        return -self.predict_proba(x) @ self.squared_distances.T.astype(np.float64)


@dataclass(frozen=True)
class Loki(MethodTags):
    """Logistic regression whose prediction is the Fréchet mean of the class probabilities.

    Attributes:
        temperature: Divisor of the scores before the softmax, > 0; towards 0 the prediction is the
            most likely class. None chooses it as described in the module.
        folds: Folds that choose `C`, and draws of hidden classes that choose the temperature, >= 2.
        C: Inverse of the penalty of the regression, > 0; None chooses it by cross-validation.
    """

    supports_weights = True

    needs_class_embeddings: ClassVar[bool] = True
    any_embedding_width: ClassVar[bool] = True

    temperature: float | None = None
    folds: int = 5
    C: float | None = None

    def __post_init__(self) -> None:
        if self.temperature is not None and not 0 < self.temperature < np.inf:
            raise ValueError(f"temperature is {self.temperature}; it must be above 0 and finite")
        check_regression(self.C, self.folds)

    def fit(self, data: Data) -> FrechetMeanClassifier:
        labelled = labelled_features(data, self)
        distances = compute_class_distances(data)
        present, y = np.unique(labelled.y, return_inverse=True)
        labelled = _relabel(labelled, y, present)
        result = fit_regression(labelled, self.C, n_folds=self.folds)
        inverse_temperature = 1 / self.temperature if self.temperature else 1.0
        if self.temperature is None and len(present) < data.k and len(present) > 3:
            hidden_fraction = 1 - len(present) / data.k
            inverse_temperature = self._choose_inverse_temperature(
                labelled, distances[np.ix_(present, present)], result.C, hidden_fraction
            )
        rule = Linear.from_centred(
            result.centre, inverse_temperature * result.weight, inverse_temperature * result.bias
        )
        return FrechetMeanClassifier(
            rule.weight, rule.bias, distances[:, present].astype(np.float32)
        )

    def _choose_inverse_temperature(
        self, labelled: Data, squared_distances: Matrix, C: float, hidden_fraction: float
    ) -> float:
        """Return the candidate with the least mean distance when some classes are hidden."""
        m, fold = len(squared_distances), folds.assign_folds(labelled.y, 2, groups=labelled.group)
        n_hidden = min(max(1, round(hidden_fraction * m)), m - 2)
        losses = np.zeros(len(INVERSE_TEMPERATURES))
        for f in range(self.folds):
            hidden = np.random.default_rng(f).permutation(m)[:n_hidden]
            visible = np.setdiff1d(np.arange(m), hidden)
            is_train = ~np.isin(labelled.y, hidden) & (fold == f % 2)
            train = labelled.take(is_train)
            train = _relabel(train, np.searchsorted(visible, train.y), visible)
            test = labelled.take(~is_train)
            test = test.take(np.arange(0, len(test), -(-len(test) // MAX_TEST_ROWS)))
            scores = _compute_scores(fit_regression(train, C), test.x)
            for i, factor in enumerate(INVERSE_TEMPERATURES):
                expected = softmax(factor * scores, axis=1) @ squared_distances[visible]
                distance = squared_distances[test.y, expected.argmin(1)]
                losses[i] += weighted_mean(distance, test.sample_weight)
        return float(INVERSE_TEMPERATURES[int(losses.argmin())])


def _relabel(data: Data, y: Labels, class_ids: Labels) -> Data:
    """Return `data` with labels `y [n]` into the classes `class_ids [m]` alone."""
    names = tuple(data.classes[c] for c in class_ids)
    return replace(data, y=y, classes=names, **NO_CLASS_KNOWLEDGE)


def _compute_scores(result: RegressionResult, x: Features) -> Matrix:
    return np.asarray((np.asarray(x, np.float64) - result.centre) @ result.weight.T + result.bias)


def is_reachable(distances: Matrix, classes: Labels | None = None) -> NDArray[np.bool_]:
    """Return which classes are the Fréchet mean for some class probabilities.

    Args:
        distances: Squared distance of each of k classes to each class with rows, `[k, m]`.
        classes: The classes that are asked for; None asks for all.

    Returns:
        `[len(classes)]`, or `[k]`.
    """
    from scipy.optimize import linprog

    def has_solution(y: int) -> bool:
        solution = linprog(
            np.zeros(distances.shape[1]),
            A_ub=distances[y] - np.delete(distances, y, axis=0),
            b_ub=np.zeros(len(distances) - 1),
            A_eq=np.ones((1, distances.shape[1])),
            b_eq=[1.0],
        )
        return bool(solution.success)

    return np.array(
        [has_solution(y) for y in range(len(distances)) if classes is None or y in classes]
    )


def _compute_squared_distances(h: Matrix) -> Matrix:
    """Return the squared Euclidean distance between any two rows of `h [k, d]`, `[k, k]`."""
    centred = h - h.mean(0)
    squared_norms = np.sum(centred**2, axis=1)
    distances = np.maximum(squared_norms[:, None] + squared_norms - 2 * centred @ centred.T, 0.0)
    np.fill_diagonal(distances, 0.0)
    return np.asarray(distances)


def compute_class_distances(data: Data) -> Matrix:
    """Return squared distances between classes, `[k, k]`, with mean 1 over pairs.

    Raises:
        InputError: If there are neither distances nor embeddings of classes, or all are equal.
    """
    if data.class_distances is not None:
        distances = np.asarray(data.class_distances, np.float64) ** 2
    elif data.class_embeddings is not None:
        distances = _compute_squared_distances(np.asarray(data.class_embeddings, np.float64))
    else:
        raise InputError(
            "Loki needs a text embedding of each class, or distances between the classes, and "
            "there are none; use an encoder that reads text, or name a tree, angles or distances "
            "of the classes with --class-structure FILE (Data.class_distances)"
        )
    mean_distance = distances.sum() / max(1, data.k * (data.k - 1))
    if data.k > 1 and mean_distance <= 0:
        raise InputError(
            "Loki needs distinct classes, and all distances are equal to 0; give others"
        )
    return np.asarray(distances / mean_distance if mean_distance > 0 else distances)
