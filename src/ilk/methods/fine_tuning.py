"""Fine-tuning: a head goes on learning from the new classes alone, and forgets the old.

Michael McCloskey, Neal J. Cohen, 1989, Catastrophic Interference in Connectionist Networks: The
Sequential Learning Problem, doi:10.1016/S0079-7421(08)60536-8.

    minimise  mean over the new rows of  -log softmax(f(x))[y],  starting at the weights before

It keeps nothing but the head: the floor that methods against forgetting are measured from. Fitted
to all rows together it is their ceiling.
"""

from __future__ import annotations

from dataclasses import dataclass

from ilk.data import Data
from ilk.models import Facts, Perceptron, learnable
from ilk.training.arriving import arrival, checked, taught
from ilk.training.continual import to_learn


@dataclass(frozen=True)
class FineTuning(Facts):
    """One hidden layer on features, trained by plain cross-entropy.

    Attributes:
        hidden: Units of the hidden layer, >= 1.
        steps: Updates each time that classes come, >= 1.
        seed: Draws weights and batches.
    """

    hidden: int = 64
    steps: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        checked(self.hidden, self.steps)

    def fit(self, data: Data) -> Perceptron:
        return self._learnt(learnable(data, self), None)

    def update(self, model: Perceptron, data: Data) -> Perceptron:
        """The head after learning the labelled rows of `data`, if there are any.

        Raises:
            ValueError: The two do not have the same number of classes.
        """
        rows = to_learn(len(model.bias), data, self)
        return self._learnt(rows, model) if rows else model

    def _learnt(self, rows: Data, before: Perceptron | None) -> Perceptron:
        from ilk.training.heads import cross_entropy

        grown = arrival(rows, before, self.hidden, self.seed)
        return taught(grown, cross_entropy, self.steps, self.seed)
