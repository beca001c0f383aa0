"""Replay: herded exemplars of each old class are trained on together with the new rows.

Sylvestre-Alvise Rebuffi, Alexander Kolesnikov, Georg Sperl, Christoph H. Lampert, 2017, iCaRL:
Incremental Classifier and Representation Learning, arXiv 1611.07725.

    rows        the new ones and the exemplars, `exemplars / classes seen` of each class
    minimize    CE(f(x), y) + distillation_weight * KD(f_old(x), f(x))   (KD at temperature T = 2)
    exemplars   herded: their mean is near the class mean, in u = h / |h|
    nearest     score_c = -t |u(x) - mean_c|^2 / 2 with mean_c over the exemplars' u

`Replay()` is plain replay; `Replay(distillation_weight=1.0, nearest_mean=True)` is iCaRL, with
softmax instead of sigmoids. The inverse temperature t is an addition and changes no prediction.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.errors import InputError
from ilk.core.exemplar_mlp import ExemplarMLP
from ilk.core.linear_models import MLP, apply_affine, normalize_rows
from ilk.maths.gaussian import compute_class_means
from ilk.maths.inverse_temperature import fit_inverse_temperature
from ilk.training.class_incremental_head import (
    check_sizes,
    make_incremental_head,
    train_by_cross_entropy,
    train_incremental,
)
from ilk.training.continual import (
    append_exemplars,
    attach_exemplars,
    select_update_rows,
    update_exemplars,
)


@dataclass(frozen=True, eq=False)
class NearestMeanOfExemplars(ExemplarMLP):
    """A head whose hidden units are classified by the nearest mean of exemplars.

    Attributes:
        means: Mean of the normalized hidden units of each class's exemplars, `[k, h]` float32.
        inverse_temperature: Factor of the squared distances, > 0.
    """

    kind: ClassVar[str] = "nearest_mean_of_exemplars"
    shapes: ClassVar[dict[str, str]] = ExemplarMLP.shapes | {"means": "k h"}

    means: Features
    inverse_temperature: float

    def logits(self, x: Features) -> Logits:
        """Return logits `[n, k]` float64 of features `[n, d]`."""
        bias = np.where(np.isfinite(self.bias), -0.5 * np.sum(self.means**2, axis=1), -np.inf)
        scores: Logits = self.inverse_temperature * apply_affine(
            self.compute_hidden(x), self.means, bias, transform=normalize_rows
        )
        return scores


@dataclass(frozen=True)
class Replay(MethodTags):
    """An incremental head with exemplars.

    Attributes:
        exemplars: Total number of exemplars, >= 0.
        distillation_weight: Weight of the distillation from the previous model, >= 0; 0 is none.
        nearest_mean: Predict by the nearest mean of exemplars instead of the output layer.
        hidden: Number of hidden units, >= 1.
        steps: Number of updates per task, >= 1.
        seed: Seed of weights and batches.
    """

    weighted_loss = True

    exemplars: int = 200
    distillation_weight: float = 0.0
    nearest_mean: bool = False
    hidden: int = 64
    steps: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        check_sizes(self.hidden, self.steps, self.exemplars)
        if not self.distillation_weight >= 0:
            raise ValueError(
                f"distillation_weight is {self.distillation_weight}; it must be at least 0"
            )

    def fit(self, data: Data) -> ExemplarMLP:
        return self._train(labelled_features(data, self), None)

    def update(self, model: ExemplarMLP, data: Data) -> ExemplarMLP:
        """Return the model updated with the labelled rows of `data`, or `model` if there are none.

        Raises:
            ValueError: `data` has another number of classes than `model`.
        """
        rows = select_update_rows(len(model.bias), data, self)
        return self._train(rows, model) if rows else model

    def _train(self, rows: Data, previous: ExemplarMLP | None) -> ExemplarMLP:
        from ilk.training.objectives.distillation import make_distillation

        train_rows = rows if previous is None else append_exemplars(rows, previous)
        old_head = None if previous is None else _to_mlp(previous)
        if previous is None or not self.distillation_weight:
            head = train_by_cross_entropy(train_rows, old_head, self)
        else:
            increment = make_incremental_head(train_rows, old_head, self.hidden, self.seed)
            objective = make_distillation(increment, (1.0, self.distillation_weight))
            head = train_incremental(increment, objective, self.steps, self.seed)
        model = attach_exemplars(head, *update_exemplars(head, rows, self.exemplars, previous))
        return _fit_exemplar_means(model, rows, self.exemplars) if self.nearest_mean else model


def _to_mlp(model: ExemplarMLP) -> MLP:
    """The head with its output layer, which is distilled and updated."""
    return MLP(*(getattr(model, f.name) for f in fields(MLP)))


def _fit_exemplar_means(model: ExemplarMLP, rows: Data, exemplars: int) -> NearestMeanOfExemplars:
    """The exemplars' means, with the inverse temperature that fits `rows` best."""
    present = np.flatnonzero(np.isfinite(model.bias))
    counts: Labels = np.bincount(model.exemplar_labels, minlength=len(model.bias)).astype(np.int64)
    if (counts[present] == 0).any():
        raise InputError(
            f"{exemplars} exemplars leave none for some of {len(present)} classes, which then have "
            "no mean; keep at least one per class, or set nearest_mean=False"
        )
    u = normalize_rows(model.compute_hidden(model.exemplars))
    means = compute_class_means(u, model.exemplar_labels, counts).astype(np.float32)
    parts = {f.name: getattr(model, f.name) for f in fields(ExemplarMLP)}
    uncalibrated = NearestMeanOfExemplars(**parts, means=means, inverse_temperature=1.0)
    if len(present) < 2:
        return uncalibrated
    inverse_temperature = fit_inverse_temperature(
        uncalibrated.logits(rows.x)[:, present], np.searchsorted(present, rows.y)
    )
    return replace(uncalibrated, inverse_temperature=inverse_temperature)
