"""Learning without forgetting: new rows teach their classes, and the old answers to them are kept.

Zhizhong Li, Derek Hoiem, 2016, Learning without Forgetting, arXiv 1606.09282, equations 1 to 3.

    minimise  CE_new(f(x), y) + strength * KD(f_old(x), f(x)),  over the new rows
    KD = -sum_c softmax(f_old / T)_c log softmax(f / T)_c  over the classes known before, T = 2

CE_new runs over the new classes alone, as in the paper, where each task has outputs of its own
(over all, where one class comes alone). Departures: nobody says which task a row is of, so the
outputs of all tasks are compared in the end; and the new weights get no warm-up by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

from ilk.data import Data
from ilk.models import Facts, Perceptron, learnable
from ilk.training.arriving import arrival, checked, distilling, over_new, taught
from ilk.training.continual import to_learn


@dataclass(frozen=True)
class LearningWithoutForgetting(Facts):
    """A head that goes on without keeping a row.

    Attributes:
        strength: Weight of the old answers beside the new labels, >= 0.
        hidden: Units of the hidden layer, >= 1.
        steps: Updates each time that classes come, >= 1.
        seed: Draws weights and batches.
    """

    strength: float = 3.0
    hidden: int = 64
    steps: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        checked(self.hidden, self.steps)
        if not self.strength >= 0:
            raise ValueError(f"strength is {self.strength}; it must be at least 0")

    def fit(self, data: Data) -> Perceptron:
        from ilk.training.heads import cross_entropy

        grown = arrival(learnable(data, self), None, self.hidden, self.seed)
        return taught(grown, cross_entropy, self.steps, self.seed)

    def update(self, model: Perceptron, data: Data) -> Perceptron:
        """The head after learning the labelled rows of `data`, if there are any.

        Raises:
            ValueError: The two do not have the same number of classes.
        """
        rows = to_learn(len(model.bias), data, self)
        if rows is None:
            return model
        grown = arrival(rows, model, self.hidden, self.seed)
        loss = over_new(grown)
        objective = distilling(grown, lambda new, old: new + self.strength * old, loss)
        return taught(grown, objective, self.steps, self.seed)
