"""Multi-sample dropout: a head trained under several dropout masks at once, the losses averaged.

Hiroshi Inoue, 2019, Multi-Sample Dropout for Accelerated Training and Better Generalization,
arXiv 1905.09788. With M masks r_m of independent entries, 1 / (1 - p) with probability 1 - p and
else 0, on the hidden units h(x), and one output layer W, b for all:

    minimize  (1 / M) sum_m  -log softmax( W (r_m h(x)) + b )[y]

and no dropout in prediction (`ilk.training.objectives.multi_sample_dropout`). The hidden units are
computed once, so that an update of M masks costs M times the last layer only; repeating each row M
times gives the same loss at M times the whole cost. In the paper a deep convolutional network comes
before the dropped layer, and the masks cost next to nothing. On frozen features that network is
left out: with one hidden layer an update of 8 masks takes about half as long again, which its fewer
updates do not make up for. The default has two, so that the shared part is the larger one, as in
the paper; an update then takes about three times as long, and the masks add about a sixth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data
from ilk.core.linear_models import MLP

if TYPE_CHECKING:
    from ilk.architectures.head import Head
    from ilk.training.objective import Objective

EPOCHS = 30


@dataclass(frozen=True)
class MultiSampleDropout(MethodTags):
    """A head of hidden layers, trained under several dropout masks per update.

    Attributes:
        n_masks: Number of masks per update, >= 1; 1 is ordinary dropout.
        dropout: Probability that a hidden unit is dropped, in [0, 1).
        hidden: Number of hidden units, >= 1.
        seed: Seed of weights, order and masks.
        depth: Number of hidden layers, >= 1; the last one is dropped.
    """

    weighted_loss = True

    n_masks: int = 8
    dropout: float = 0.5
    hidden: int = 256
    seed: int = 0
    depth: int = 2

    def __post_init__(self) -> None:
        if self.n_masks < 1 or self.hidden < 1:
            raise ValueError(
                f"{self.n_masks} masks on {self.hidden} units; give at least one of each"
            )
        if self.depth < 1:
            raise ValueError(f"depth is {self.depth}; at least 1 hidden layer is needed")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; it must be at least 0 and below 1")

    def fit(self, data: Data) -> MLP:
        from ilk.training.heads import BATCH_SIZE, count_steps, fit_head
        from ilk.training.recipe import Recipe

        known = labelled_features(data, self)
        net = self.make_network(known)
        for part in net.output_layer.parameters():
            part.data.zero_()  # so that a class without rows does not affect the others
        recipe = Recipe(
            count_steps(len(known), EPOCHS), min(BATCH_SIZE, len(known)), 4e-3, 20, seed=self.seed
        )
        return fit_head(net, known, self.make_objective(), recipe).to_model()

    def make_network(self, data: Data) -> Head:
        """Return the untrained head for `data`."""
        from ilk.architectures.head import Head
        from ilk.training.deep_head import DeepHead

        if self.depth == 1:
            return Head.from_data(data, self.hidden, self.seed)
        return DeepHead.from_data(data, self.hidden, self.seed, self.depth)

    def make_objective(self) -> Objective:
        """Return the loss that training minimizes."""
        from ilk.training.objectives.multi_sample_dropout import MultiSampleDropoutLoss

        return MultiSampleDropoutLoss(self.n_masks, self.dropout)
