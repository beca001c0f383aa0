"""Elastic weight consolidation: a quadratic penalty on weights that matter for old classes.

James Kirkpatrick and others, 2017, Overcoming Catastrophic Forgetting in Neural Networks,
arXiv 1612.00796, equation 3.

    minimize  mean over the n new rows of CE_new + strength / (2 n) sum_i F_i (w_i - w_i old)^2
    F_i = sum over the old rows of E_{c ~ p(c | x)} (d log p(c | x) / d w_i)^2

CE_new is over the new classes only (over all, where a task has a single class): otherwise the
easiest way to fit new rows is to lower the logits of the old classes, which no penalty prevents.
For a head with one hidden layer h = relu(a), logits W h + b and p = softmax, F has a closed form:

    F[W_ci] = sum p_c (1 - p_c) h_i^2,   F[A_ij] = sum [a_i > 0] Var_{c ~ p}(W_ci) x_j^2

Departures: the Fisher information of each row is under the model's own predictions, neither under
the labels nor over a batch's mean. That of all tasks is summed, about the latest weights (Huszar,
2018, arXiv 1712.03847), so that memory does not grow with the number of tasks. With `strength` 1
the penalty is the Laplace approximation of the old rows' likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data, Features
from ilk.core.linear_models import MLP
from ilk.core.metrics import softmax
from ilk.training.class_incremental_head import (
    IncrementalHead,
    check_sizes,
    make_incremental_head,
    make_new_class_loss,
    train_by_cross_entropy,
    train_incremental,
)
from ilk.training.continual import select_update_rows

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from ilk.training.batch import Batch
    from ilk.training.objective import Objective


@dataclass(frozen=True, eq=False)
class EWCHead(MLP):
    """A head with the Fisher information of each weight, float32, in the shapes of the weights."""

    kind: ClassVar[str] = "ewc_head"
    shapes: ClassVar[dict[str, str]] = MLP.shapes | {
        "hidden_weight_fisher": "h d",
        "hidden_bias_fisher": "h",
        "weight_fisher": "k h",
        "bias_fisher": "k",
    }

    hidden_weight_fisher: Features
    hidden_bias_fisher: Features
    weight_fisher: Features
    bias_fisher: Features


@dataclass(frozen=True)
class EWC(MethodTags):
    """An incremental head without exemplars.

    Attributes:
        strength: Weight of the penalty, >= 0.
        hidden: Number of hidden units, >= 1.
        steps: Number of updates per task, >= 1.
        seed: Seed of weights and batches.
    """

    weighted_loss = True

    strength: float = 10.0
    hidden: int = 64
    steps: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        check_sizes(self.hidden, self.steps, strength=self.strength)

    def fit(self, data: Data) -> EWCHead:
        rows = labelled_features(data, self)
        head = train_by_cross_entropy(rows, None, self)
        return _make_ewc_head(head, compute_fisher(head, rows.x))

    def update(self, model: EWCHead, data: Data) -> EWCHead:
        """Return the model updated with the labelled rows of `data`, or `model` if there are none.

        Raises:
            ValueError: `data` has another number of classes than `model`.
        """
        rows = select_update_rows(len(model.bias), data, self)
        if rows is None:
            return model
        increment = make_incremental_head(rows, model, self.hidden, self.seed)
        head = train_incremental(
            increment, _make_objective(increment, model, self.strength), self.steps, self.seed
        )
        old_fisher = (
            model.hidden_weight_fisher,
            model.hidden_bias_fisher,
            model.weight_fisher,
            model.bias_fisher,
        )
        new_fisher = compute_fisher(head, rows.x)
        return _make_ewc_head(
            head, tuple(a + b for a, b in zip(old_fisher, new_fisher, strict=True))
        )


def compute_fisher(head: MLP, x: Features) -> tuple[Any, ...]:
    """Return the Fisher information summed over rows, in the shapes of the head's four weights.

    Args:
        head: The head; classes with a bias of `-inf` have no information.
        x: Features, `[n, d]`.
    """
    present = np.flatnonzero(np.isfinite(head.bias))
    hidden, p = head.compute_hidden(x), softmax(head.logits(x)[:, present], axis=1)
    weight = head.weight[present].astype(np.float64)
    weight_variance = p @ weight**2 - (p @ weight) ** 2  # Var_{c ~ p}(W_ci), [n, h]
    hidden_variance = np.where(hidden > 0, np.maximum(weight_variance, 0), 0)
    standardized = (np.asarray(x, np.float64) - head.centre) / head.scale
    weight_fisher = np.zeros((len(head.bias), len(head.hidden_weight)))
    bias_fisher = np.zeros(len(head.bias))
    weight_fisher[present], bias_fisher[present] = (
        (p * (1 - p)).T @ hidden**2,
        np.sum(p * (1 - p), axis=0),
    )
    return hidden_variance.T @ standardized**2, hidden_variance.sum(0), weight_fisher, bias_fisher


def _make_objective(increment: IncrementalHead, model: EWCHead, strength: float) -> Objective:
    """The loss of the new rows, and the penalty; a new class has no Fisher information yet."""
    import torch

    from ilk.training.objective import WeightedSum
    from ilk.training.objectives.quadratic_penalty import QuadraticPenalty

    loss = make_new_class_loss(increment)

    def compute_supervised(net: nn.Module, batch: Batch, _generator: Generator) -> Tensor:
        return loss(net(batch.x), batch.y, batch.weight)

    fisher = {
        "hidden_layer.weight": model.hidden_weight_fisher,
        "hidden_layer.bias": model.hidden_bias_fisher,
        "output_layer.weight": model.weight_fisher[increment.class_ids],
        "output_layer.bias": model.bias_fisher[increment.class_ids],
    }
    tensors = {name: torch.from_numpy(np.array(f, np.float32)) for name, f in fisher.items()}
    scale = strength / (2 * len(increment.data))
    return WeightedSum((1.0, compute_supervised), (scale, QuadraticPenalty(tensors)))


def _make_ewc_head(head: MLP, information: tuple[Any, ...]) -> EWCHead:
    parts = [getattr(head, f.name) for f in fields(MLP)]
    return EWCHead(*parts, *(np.asarray(f, np.float32) for f in information))
