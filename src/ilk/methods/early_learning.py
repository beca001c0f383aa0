"""Early-learning regularisation: what the head believed early on outweighs a label against it.

Sheng Liu, Jonathan Niles-Weed, Narges Razavian, Carlos Fernandez-Granda, 2020, Early-Learning
Regularization Prevents Memorization of Noisy Labels, arXiv 2007.00151.

    t_i <- beta t_i + (1 - beta) p_i / sum(p_i)       a running target a row, from 0, no slope
    loss = mean_i [ -log softmax(z_i)[y_i] + weight log(1 - <p_i, t_i>) ]

with p the softmax held in [1e-4, 1 - 1e-4]. The second term falls as p agrees with t; its slope
takes back that of the cross-entropy on rows whose label contradicts what was believed before.

Departures: a head of one hidden layer on frozen features, trained by this house's optimiser, takes
the place of a network trained through; the last state is an average over the run. The term drives
probabilities to 0 and 1, so logits are divided at the end by the temperature >= 1 that fits the
given labels best. Rows of a rare class look like wrong labels to it: with few of them and a large
weight the class is lost, and the default weight is a cautious one.

In `ilk bench wrong_labels` it keeps a head from learning wrong labels by heart and ends above plain
cross-entropy throughout; on pixels it also beats GDA and logistic regression. On features of a
pretrained network those two stay ahead: rules so stiff have little room to memorise. Labels that
are confused one way (truck for automobile) it takes for the truth as early as right ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ilk.data import Data
from ilk.metrics import log_softmax
from ilk.models import Facts, Perceptron, learnable

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from ilk.training.loop import Batch, Objective, Recipe

HELD = 1e-4  # how near 0 and 1 the probabilities may come
REACH = 5.0  # log of the highest temperature


@dataclass(frozen=True)
class EarlyLearning(Facts):
    """A head of one hidden layer that does not learn wrong labels by heart.

    Attributes:
        beta: How much of a row's running target each visit leaves, in [0, 1).
        weight: Of the regulariser, lambda in the paper, >= 0; 0 is plain cross-entropy.
        hidden: Hidden units, >= 1.
        passes: Over the training rows, > 0.
        seed: Draws weights and order.
    """

    beta: float = 0.7
    weight: float = 1.0
    hidden: int = 256
    passes: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.beta < 1:
            raise ValueError(f"beta is {self.beta}; it must be at least 0 and below 1")
        if not 0 <= self.weight < np.inf:
            raise ValueError(f"weight is {self.weight}; it must be finite and at least 0")
        if self.hidden < 1 or not 0 < self.passes < np.inf:
            raise ValueError(f"hidden is {self.hidden}, passes {self.passes}; both must be above 0")

    def fit(self, data: Data) -> Perceptron:
        from ilk.training.heads import Head, fitted

        known = learnable(data, self)
        seen, y = np.unique(known.y, return_inverse=True)
        known = replace(known, y=y, classes=tuple(known.classes[c] for c in seen), hints=None)
        net = Head.of(known, self.hidden, self.seed)
        loss = self.objective(len(known), known.k)
        model = fitted(net, known, loss, self.recipe(len(known))).model()
        return _among(_cooled(model, known), seen, data.k)

    def recipe(self, n: int) -> Recipe:
        """How the head is trained on `n` rows."""
        from ilk.training.heads import BATCH, steps
        from ilk.training.loop import Recipe

        made = steps(n, self.passes)
        return Recipe(made, min(BATCH, n), lr=4e-3, warmup=20, decay=0.01, seed=self.seed)

    def objective(self, n: int, k: int) -> Objective:
        """The loss for the training loop; it remembers a target for each of `n` rows."""
        import torch

        targets = torch.zeros(n, k)

        def loss(net: nn.Module, batch: Batch, _generator: Generator) -> Tensor:
            assert batch.at is not None, "a target belongs to a row of the set, not of the batch"
            z = net(batch.x)
            p = z.softmax(1).clamp(HELD, 1 - HELD)
            now = p.detach()
            now = self.beta * targets[batch.at] + (1 - self.beta) * now / now.sum(1, keepdim=True)
            targets[batch.at] = now
            agreed = torch.log1p(-(p * now).sum(1)).mean()
            return torch.nn.functional.cross_entropy(z, batch.y) + self.weight * agreed

        return loss


def _cooled(model: Perceptron, known: Data) -> Perceptron:
    """The same answers at the temperature that the given labels bear out best."""
    from scipy.optimize import minimize_scalar

    z, rows = model.logits(known.x), np.arange(len(known))

    def loss(log_inverse: float) -> float:
        return -float(log_softmax(np.exp(log_inverse) * z, axis=1)[rows, known.y].mean())

    inverse = np.exp(minimize_scalar(loss, bounds=(-REACH, 0), method="bounded").x)
    return replace(
        model,
        weight=(inverse * model.weight).astype(np.float32),
        bias=(inverse * model.bias).astype(np.float32),
    )


def _among(
    model: Perceptron, seen: np.ndarray[tuple[int], np.dtype[np.int64]], k: int
) -> Perceptron:
    """A model of the classes `seen` as one of all `k`, the others never answered."""
    weight = np.zeros((k, model.weight.shape[1]), np.float32)
    bias = np.full(k, -np.inf, np.float32)
    weight[seen], bias[seen] = model.weight, model.bias
    return replace(model, weight=weight, bias=bias)
