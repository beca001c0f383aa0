"""Learning without Forgetting: the old model's predictions for the new rows are distilled.

Zhizhong Li, Derek Hoiem, 2016, Learning without Forgetting, arXiv 1606.09282, equations 1 to 3.

    minimize  CE_new(f(x), y) + strength * KD(f_old(x), f(x)),  over the new rows
    KD = -sum_c softmax(f_old / T)_c log softmax(f / T)_c  over the old classes, T = 2

CE_new is over the new classes only, as in the paper, where each task has outputs of its own (over
all classes, where a task has a single class). Departures: the task of a row is unknown at test
time, so the outputs of all tasks are compared; and the new weights have no separate warm-up.
"""

from __future__ import annotations

from dataclasses import dataclass

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data
from ilk.core.linear_models import MLP
from ilk.training.class_incremental_head import (
    check_sizes,
    make_incremental_head,
    make_new_class_loss,
    train_by_cross_entropy,
    train_incremental,
)
from ilk.training.continual import select_update_rows


@dataclass(frozen=True)
class LwF(MethodTags):
    """An incremental head without exemplars.

    Attributes:
        strength: Weight of the distillation, >= 0.
        hidden: Number of hidden units, >= 1.
        steps: Number of updates per task, >= 1.
        seed: Seed of weights and batches.
    """

    weighted_loss = True

    strength: float = 3.0
    hidden: int = 64
    steps: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        check_sizes(self.hidden, self.steps, strength=self.strength)

    def fit(self, data: Data) -> MLP:
        return train_by_cross_entropy(labelled_features(data, self), None, self)

    def update(self, model: MLP, data: Data) -> MLP:
        """Return the model updated with the labelled rows of `data`, or `model` if there are none.

        Raises:
            ValueError: `data` has another number of classes than `model`.
        """
        from ilk.training.objectives.distillation import make_distillation

        rows = select_update_rows(len(model.bias), data, self)
        if rows is None:
            return model
        increment = make_incremental_head(rows, model, self.hidden, self.seed)
        weights = (1.0, self.strength)
        objective = make_distillation(increment, weights, make_new_class_loss(increment))
        return train_incremental(increment, objective, self.steps, self.seed)
