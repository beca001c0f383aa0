"""Fine-tuning: a head is trained on the new classes only, and forgets the old ones.

Michael McCloskey, Neal J. Cohen, 1989, Catastrophic Interference in Connectionist Networks: The
Sequential Learning Problem, doi:10.1016/S0079-7421(08)60536-8.

    minimize  mean over the new rows of  -log softmax(f(x))[y],  from the previous weights

It remembers nothing but the head: the lower bound of incremental learning. Fitted to all rows at
once it is the upper bound.
"""

from __future__ import annotations

from dataclasses import dataclass

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data
from ilk.core.linear_models import MLP
from ilk.training.class_incremental_head import check_sizes, train_by_cross_entropy
from ilk.training.continual import select_update_rows


@dataclass(frozen=True)
class FineTuning(MethodTags):
    """A head of one hidden layer, trained by cross-entropy.

    Attributes:
        hidden: Number of hidden units, >= 1.
        steps: Number of updates per task, >= 1.
        seed: Seed of weights and batches.
    """

    weighted_loss = True

    hidden: int = 64
    steps: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        check_sizes(self.hidden, self.steps)

    def fit(self, data: Data) -> MLP:
        return train_by_cross_entropy(labelled_features(data, self), None, self)

    def update(self, model: MLP, data: Data) -> MLP:
        """Return the model updated with the labelled rows of `data`, or `model` if there are none.

        Raises:
            ValueError: `data` has another number of classes than `model`.
        """
        rows = select_update_rows(len(model.bias), data, self)
        return train_by_cross_entropy(rows, model, self) if rows else model
