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
to 0 and 1, so logits are divided by the temperature >= 1 that fits the given labels best.

The paper sets beta and weight per data set. Here they are chosen inside the training rows: heads
with each pair of `CONFIGS`, the paper's three and no regularizer at all, are trained on one half of
the rows, for as many passes, and compared by their accuracy on the given labels of the other half.
Labels that are wrong at random lower all accuracies alike, so no clean label is needed. Rows of a
rare class resemble wrong labels, and with few of them and a large weight the class is lost;
held-out rows show that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data
from ilk.core.linear_models import MLP
from ilk.maths import folds
from ilk.maths.inverse_temperature import fit_inverse_temperature

if TYPE_CHECKING:
    from ilk.training.objective import Objective
    from ilk.training.recipe import Recipe

MAX_TEMPERATURE = np.exp(5.0)
CONFIGS = ((0.9, 0.0), (0.9, 1.0), (0.7, 3.0), (0.9, 7.0))  # beta and weight
UNTESTED = (0.9, 1.0)  # where no row can be held out
N_FOLDS = 2  # each pair sees half of the rows twice, which takes as long as all rows once


@dataclass(frozen=True)
class ELR(MethodTags):
    """A head of one hidden layer that is robust to wrong labels.

    Attributes:
        beta: Momentum of the running targets, in [0, 1). None chooses it with the weight.
        weight: Weight of the regularizer, lambda in the paper, >= 0; 0 is plain cross-entropy. None
            chooses it by held-out labels, which takes about five times as long as a given one.
        hidden: Number of hidden units, >= 1.
        epochs: Passes over the labelled rows, > 0.
        seed: Seed of weights and order.
    """

    weighted_loss = True

    beta: float | None = None
    weight: float | None = None
    hidden: int = 256
    epochs: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.beta is not None and not 0 <= self.beta < 1:
            raise ValueError(f"beta is {self.beta}; it must be at least 0 and below 1")
        if self.weight is not None and not 0 <= self.weight < np.inf:
            raise ValueError(f"weight is {self.weight}; it must be finite and at least 0")
        if self.hidden < 1 or not 0 < self.epochs < np.inf:
            raise ValueError(f"hidden is {self.hidden}, epochs {self.epochs}; both must be above 0")

    def fit(self, data: Data) -> MLP:
        known = labelled_features(data, self)
        present, y = np.unique(known.y, return_inverse=True)
        known = replace(
            known, y=y, classes=tuple(known.classes[c] for c in present), class_embeddings=None
        )
        model = self.choose(known)._train(known)
        return _expand_classes(_apply_temperature(model, known), present, data.k)

    def choose(self, data: Data) -> ELR:
        """Return the method with the beta and the weight that `fit` takes for labelled `data`.

        A given value is kept. Of equal accuracies, the first of `CONFIGS` counts.
        """
        configs = self._list_configs()
        n_folds = folds.count_folds(data.y, N_FOLDS, data.group)
        if len(configs) == 1 or n_folds < 2:
            beta, weight = configs[0] if len(configs) == 1 else self._complete(UNTESTED)
            return replace(self, beta=beta, weight=weight)
        fold = folds.assign_folds(data.y, n_folds, self.seed, data.group)
        n_steps = self.make_recipe(len(data)).steps
        accuracy = np.zeros(len(configs))
        for f in range(n_folds):
            part, held_out = data.take(fold != f), data.take(fold == f)
            for i, (beta, weight) in enumerate(configs):
                method = replace(self, beta=beta, weight=weight)
                model = method._train(part, max(1, round(n_steps * len(part) / len(data))))
                accuracy[i] += _count_correct(model, held_out)
        beta, weight = configs[int(np.argmax(accuracy.round(9)))]
        return replace(self, beta=beta, weight=weight)

    def _list_configs(self) -> list[tuple[float, float]]:
        return list(dict.fromkeys(map(self._complete, CONFIGS)))

    def _complete(self, config: tuple[float, float]) -> tuple[float, float]:
        """Replace what is given; without a weight, beta changes nothing."""
        beta, weight = config
        weight = weight if self.weight is None else self.weight
        return (beta if weight else UNTESTED[0]) if self.beta is None else self.beta, weight

    def _train(self, data: Data, n_steps: int | None = None) -> MLP:
        from ilk.training.heads import Head, fit_head

        net, recipe = Head.from_data(data, self.hidden, self.seed), self.make_recipe(len(data))
        if n_steps is not None:
            recipe = replace(recipe, steps=n_steps)
        return fit_head(net, data, self.make_objective(), recipe).to_model()

    def make_objective(self) -> Objective:
        """Return the loss that training minimizes.

        Raises:
            ValueError: The beta or the weight is None; `choose` returns a method with both.
        """
        from ilk.training.objectives.early_learning import EarlyLearning

        if self.beta is None or self.weight is None:
            raise ValueError("the loss needs a beta and a weight; choose(data) finds them")
        return EarlyLearning(self.beta, self.weight)

    def make_recipe(self, n: int) -> Recipe:
        """Return the hyperparameters of training on `n` rows."""
        from ilk.training.heads import BATCH_SIZE, count_steps
        from ilk.training.recipe import Recipe

        n_steps = count_steps(n, self.epochs)
        return Recipe(
            n_steps, min(BATCH_SIZE, n), lr=4e-3, warmup=20, weight_decay=0.01, seed=self.seed
        )


def _count_correct(model: MLP, data: Data) -> float:
    """The number of rows whose given label has the highest logit, each counted by its weight."""
    is_correct = model.logits(data.x).argmax(1) == data.y
    return float(
        is_correct.sum() if data.sample_weight is None else data.sample_weight @ is_correct
    )


def _apply_temperature(model: MLP, known: Data) -> MLP:
    """The model at the temperature of at least 1 that fits the given labels best."""
    inverse_temperature = fit_inverse_temperature(
        model.logits(known.x), known.y, 1 / MAX_TEMPERATURE, 1.0
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
