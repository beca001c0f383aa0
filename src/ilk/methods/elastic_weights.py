"""Elastic weight consolidation: weights that old classes hang on are held by springs.

James Kirkpatrick and others, 2017, Overcoming Catastrophic Forgetting in Neural Networks,
arXiv 1612.00796, equation 3.

    minimise  mean over the n new rows of CE_new + strength / (2 n) sum_i F_i (w_i - w_i before)^2
    F_i = sum over the old rows of E_{c ~ p(c | x)} (d log p(c | x) / d w_i)^2

CE_new runs over the new classes alone (over all, where one class comes alone): the surest way to
be right on new rows is else to push down the old classes' scores, which no spring holds up. For a
head with one hidden layer h = relu(a), scores W h + b and p = softmax, F in closed form is

    F[W_ci] = sum p_c (1 - p_c) h_i^2,   F[A_ij] = sum [a_i > 0] Var_{c ~ p}(W_ci) x_j^2

Departures: the Fisher information is that of each row under the model's own answers, neither of the
labels nor of a batch's mean; those of all tasks are summed about the latest weights (Huszar, 2018,
arXiv 1712.03847), so that what is kept does not grow with the tasks. With `strength` 1 the springs
are the Laplace approximation of what the old rows say; stiffer ones forgot less on digits held out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ilk.data import Data, Features
from ilk.metrics import softmax
from ilk.models import Facts, Perceptron, learnable
from ilk.training.arriving import Arrival, arrival, checked, over_new, taught
from ilk.training.continual import to_learn


@dataclass(frozen=True, eq=False)
class Elastic(Perceptron):
    """A head, and the Fisher information of each weight, float32, in the shapes of the weights."""

    inner_fisher: Features
    threshold_fisher: Features
    weight_fisher: Features
    bias_fisher: Features


@dataclass(frozen=True)
class ElasticWeights(Facts):
    """A head that goes on without keeping a row.

    Attributes:
        strength: Of the springs, >= 0.
        hidden: Units of the hidden layer, >= 1.
        steps: Updates each time that classes come, >= 1.
        seed: Draws weights and batches.
    """

    strength: float = 10.0
    hidden: int = 64
    steps: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        checked(self.hidden, self.steps)
        if not self.strength >= 0:
            raise ValueError(f"strength is {self.strength}; it must be at least 0")

    def fit(self, data: Data) -> Elastic:
        from ilk.training.heads import cross_entropy

        rows = learnable(data, self)
        grown = arrival(rows, None, self.hidden, self.seed)
        head = taught(grown, cross_entropy, self.steps, self.seed)
        return _sprung(head, fisher(head, rows.x))

    def update(self, model: Elastic, data: Data) -> Elastic:
        """The head after learning the labelled rows of `data`, if there are any.

        Raises:
            ValueError: The two do not have the same number of classes.
        """
        rows = to_learn(len(model.bias), data, self)
        if rows is None:
            return model
        grown = arrival(rows, model, self.hidden, self.seed)
        head = taught(grown, _held(grown, model, self.strength), self.steps, self.seed)
        before = (
            model.inner_fisher,
            model.threshold_fisher,
            model.weight_fisher,
            model.bias_fisher,
        )
        added = fisher(head, rows.x)
        return _sprung(head, tuple(a + b for a, b in zip(before, added, strict=True)))


def fisher(head: Perceptron, x: Features) -> tuple[Any, ...]:
    """Summed over rows `x [n, d]`: the Fisher information of inner, threshold, weight and bias.

    A class never seen has none.
    """
    seen = np.flatnonzero(np.isfinite(head.bias))
    hidden, p = head.hidden(x), softmax(head.logits(x)[:, seen], axis=1)
    weight = head.weight[seen].astype(np.float64)
    spread = p @ weight**2 - (p @ weight) ** 2  # Var_{c ~ p}(W_ci), [n, h]
    back = np.where(hidden > 0, np.maximum(spread, 0), 0)
    standard = (np.asarray(x, np.float64) - head.centre) / head.scale
    outer = np.zeros((len(head.bias), len(head.inner)))
    offset = np.zeros(len(head.bias))
    outer[seen], offset[seen] = (p * (1 - p)).T @ hidden**2, np.sum(p * (1 - p), axis=0)
    return back.T @ standard**2, back.sum(0), outer, offset


def _held(grown: Arrival, model: Elastic, strength: float) -> Any:
    """The loss of the new rows, and the springs; a new class has no Fisher information yet."""
    import torch

    loss = over_new(grown)

    def stiff(values: Features) -> Any:
        return torch.from_numpy(np.array(values, np.float32))

    springs = (
        (grown.net.inner.weight, stiff(model.inner_fisher)),
        (grown.net.inner.bias, stiff(model.threshold_fisher)),
        (grown.net.outer.weight, stiff(model.weight_fisher[grown.seen])),
        (grown.net.outer.bias, stiff(model.bias_fisher[grown.seen])),
    )
    rest = [weight.detach().clone() for weight, _ in springs]

    def objective(net: Any, batch: Any, _generator: Any) -> Any:
        moved = zip(springs, rest, strict=True)
        pull = sum((f * (weight - at) ** 2).sum() for (weight, f), at in moved)
        return loss(net(batch.x), batch.y) + strength / (2 * len(grown.data)) * pull

    return objective


def _sprung(head: Perceptron, information: tuple[Any, ...]) -> Elastic:
    parts = [getattr(head, f.name) for f in fields(Perceptron)]
    return Elastic(*parts, *(np.asarray(f, np.float32) for f in information))
