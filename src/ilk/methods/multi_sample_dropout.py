"""A head whose hidden units are dropped out in several ways at once, the losses averaged.

Hiroshi Inoue, 2019, Multi-Sample Dropout for Accelerated Training and Better Generalization,
arXiv 1905.09788. With M masks r_m of independent entries, 1 / (1 - p) with probability 1 - p and
else 0, on the hidden units h(x), and one output layer W, b for all:

    minimise  (1 / M) sum_m  -log softmax( W (r_m h(x)) + b )[y]

and nothing is dropped in answering. The hidden units are computed once, so an update of M masks
costs M times the last layer only; repeating each row M times gives the same loss for M times all.

On frozen features (`ilk bench losses`) more masks need fewer updates than one mask of the same
rate, yet no less time, and end level in test error with one mask of the rate that suits it: here
the layer that M multiplies is a good part of the network, where the paper's ends a deep one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from ilk.data import Data
from ilk.models import Facts, Perceptron, learnable

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from ilk.training.heads import Head
    from ilk.training.loop import Batch

PASSES = 30


@dataclass(frozen=True)
class MultiSampleDropout(Facts):
    """One hidden layer, trained under several dropout masks an update.

    Attributes:
        samples: Masks an update, >= 1; 1 is dropout as usual.
        rate: Probability that a hidden unit is dropped, in [0, 1).
        hidden: Units of the hidden layer, >= 1.
        seed: Draws weights, order and masks.
    """

    samples: int = 8
    rate: float = 0.5
    hidden: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1 or self.hidden < 1:
            raise ValueError(
                f"{self.samples} masks on {self.hidden} units; give at least one of each"
            )
        if not 0 <= self.rate < 1:
            raise ValueError(f"rate is {self.rate}; it must be at least 0 and below 1")

    def fit(self, data: Data) -> Perceptron:
        from ilk.training.heads import BATCH, Head, fitted, steps
        from ilk.training.loop import Recipe

        known = learnable(data, self)
        net = Head.of(known, self.hidden, self.seed)
        for part in net.outer.parameters():
            part.data.zero_()  # no class is drawn for, so one without a row changes nothing
        recipe = Recipe(steps(len(known), PASSES), min(BATCH, len(known)), 4e-3, 20, seed=self.seed)
        return fitted(net, known, self.objective, recipe).model()

    def objective(self, network: nn.Module, batch: Batch, generator: Generator) -> Tensor:
        """The mean over masks of the mean cross-entropy of a batch; what the loop minimises."""
        import torch
        from torch.nn import functional

        net = cast("Head", network)
        hidden = net.hidden(batch.x)
        kept = torch.rand((self.samples, *hidden.shape), generator=generator) >= self.rate
        logits = net.logits((kept * hidden).div(1 - self.rate).flatten(0, 1))
        return functional.cross_entropy(logits, batch.y.repeat(self.samples))
