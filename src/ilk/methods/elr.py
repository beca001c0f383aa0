"""Early-learning regularization: what a head predicted early outweighs a conflicting label.

Sheng Liu, Jonathan Niles-Weed, Narges Razavian, Carlos Fernandez-Granda, 2020, Early-Learning
Regularization Prevents Memorization of Noisy Labels, arXiv 2007.00151.

    t_i <- beta t_i + (1 - beta) p_i / sum(p_i)       a running target per row, from 0, no gradient
    loss = mean_i [ -log softmax(z_i)[y_i] + weight log(1 - <p_i, t_i>) ]

with p the softmax clamped to [1e-4, 1 - 1e-4] (`ilk.training.objectives.early_learning`). The
second term decreases as p agrees with t; its gradient cancels that of the cross-entropy on rows
whose label contradicts the earlier predictions.

Departures: a head of one hidden layer on frozen features, trained by `ilk.training`, takes the
place of a whole network; the model is an average over the run. The regularizer drives probabilities
to 0 and 1, so logits are divided by the temperature >= 1 that fits the given labels best. Rows of a
rare class resemble wrong labels: with few of them and a large weight the class is lost, and the
default weight is small.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data
from ilk.core.linear_models import MLP
from ilk.core.metrics import log_softmax

if TYPE_CHECKING:
    from ilk.training.objective import Objective
    from ilk.training.recipe import Recipe

MAX_LOG_TEMPERATURE = 5.0  # logarithm of the highest temperature


@dataclass(frozen=True)
class ELR(MethodTags):
    """A head of one hidden layer that is robust to wrong labels.

    Attributes:
        beta: Momentum of the running targets, in [0, 1).
        weight: Weight of the regularizer, lambda in the paper, >= 0; 0 is plain cross-entropy.
        hidden: Number of hidden units, >= 1.
        epochs: Passes over the labelled rows, > 0.
        seed: Seed of weights and order.
    """

    weighted_loss = True

    beta: float = 0.7
    weight: float = 1.0
    hidden: int = 256
    epochs: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.beta < 1:
            raise ValueError(f"beta is {self.beta}; it must be at least 0 and below 1")
        if not 0 <= self.weight < np.inf:
            raise ValueError(f"weight is {self.weight}; it must be finite and at least 0")
        if self.hidden < 1 or not 0 < self.epochs < np.inf:
            raise ValueError(f"hidden is {self.hidden}, epochs {self.epochs}; both must be above 0")

    def fit(self, data: Data) -> MLP:
        from ilk.training.heads import Head, fit_head

        known = labelled_features(data, self)
        present, y = np.unique(known.y, return_inverse=True)
        known = replace(
            known, y=y, classes=tuple(known.classes[c] for c in present), class_embeddings=None
        )
        net = Head.from_data(known, self.hidden, self.seed)
        recipe = self.make_recipe(len(known))
        model = fit_head(net, known, self.make_objective(), recipe).to_model()
        return _expand_classes(_apply_temperature(model, known), present, data.k)

    def make_objective(self) -> Objective:
        """Return the loss that training minimizes."""
        from ilk.training.objectives.early_learning import EarlyLearning

        return EarlyLearning(self.beta, self.weight)

    def make_recipe(self, n: int) -> Recipe:
        """Return the hyperparameters of training on `n` rows."""
        from ilk.training.heads import BATCH_SIZE, count_steps
        from ilk.training.recipe import Recipe

        n_steps = count_steps(n, self.epochs)
        return Recipe(
            n_steps, min(BATCH_SIZE, n), lr=4e-3, warmup=20, weight_decay=0.01, seed=self.seed
        )


def _apply_temperature(model: MLP, known: Data) -> MLP:
    """The model at the temperature that fits the given labels best."""
    from scipy.optimize import minimize_scalar

    z, rows = model.logits(known.x), np.arange(len(known))

    def loss(log_inverse: float) -> float:
        return -float(log_softmax(np.exp(log_inverse) * z, axis=1)[rows, known.y].mean())

    inverse_temperature = np.exp(
        minimize_scalar(loss, bounds=(-MAX_LOG_TEMPERATURE, 0), method="bounded").x
    )
    return replace(
        model,
        weight=(inverse_temperature * model.weight).astype(np.float32),
        bias=(inverse_temperature * model.bias).astype(np.float32),
    )


def _expand_classes(model: MLP, present: np.ndarray[tuple[int], np.dtype[np.int64]], k: int) -> MLP:
    """A model of the classes `present` as one of all `k`; the others have logits of `-inf`."""
    weight = np.zeros((k, model.weight.shape[1]), np.float32)
    bias = np.full(k, -np.inf, np.float32)
    weight[present], bias[present] = model.weight, model.bias
    return replace(model, weight=weight, bias=bias)
