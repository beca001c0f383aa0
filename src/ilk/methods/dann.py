"""A head whose hidden units name the class but not whether a row is the source's or the target's.

Yaroslav Ganin, Evgeniya Ustinova, Hana Ajakan, Pascal Germain, Hugo Larochelle, François
Laviolette, Mario Marchand, Victor Lempitsky, 2016, Domain-Adversarial Training of Neural Networks,
arXiv 1505.07818. Rows with a label are the source, rows without one the target. With hidden units
h, their parameters f, the label head's y and the domain head's d,

    f <- f - mu (dL_y / df - lambda dL_d / df),  y <- y - mu dL_y / dy,  d <- d - mu dL_d / dd
    lambda_p = 2 / (1 + exp(-10 p)) - 1  after a share p of the updates

which is plain descent on L_y + L_d with the gradient of L_d reversed on its way to h.

Departures: h is one hidden layer on frozen features, where the paper trains a network through; the
learning rate is that of the one training loop; and where the paper fills a batch half from the
source and half from the target, here each half's mean counts half. Aligning the two sides aligns
their class shares too, which is wrong where these differ: it loses under label shift. In `ilk bench
changed_world` it beats the same head without reversal on some targets and standardising each side
by itself on none; and though the distance falls, a fresh rule still tells the sides apart: one
layer of this width cannot hide all that differs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ilk.data import Data
from ilk.models import Facts, Perceptron, learnable

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from ilk.training.loop import Batch


@dataclass(frozen=True)
class DANN(Facts):
    """Domain-adversarial training of a head of one hidden layer.

    Attributes:
        strength: Times lambda_p, the weight of the reversed gradient, >= 0; 0 is the plain head.
        hidden: Hidden units, >= 1.
        passes: Over the rows of source and target together, > 0.
        decay: Weight decay, >= 0.
        seed: Draws weights and order.
    """

    uses_unlabelled = True

    strength: float = 1.0
    hidden: int = 64
    passes: float = 30.0
    decay: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.strength < np.inf and 0 <= self.decay < np.inf):
            raise ValueError(
                f"strength is {self.strength}, decay {self.decay}; both must be finite, at least 0"
            )
        if self.hidden < 1 or not 0 < self.passes < np.inf:
            raise ValueError(f"hidden is {self.hidden}, passes {self.passes}; both must be above 0")

    def fit(self, data: Data) -> Perceptron:
        from torch.nn import functional

        from ilk.training.adversary import Contested, rising
        from ilk.training.heads import BATCH, fitted, steps
        from ilk.training.loop import Recipe

        learnable(data, self)
        rows = replace(data, x=np.asarray(data.x, np.float32))
        net = Contested.of(rows, self.hidden, self.seed)
        for part in net.outer.parameters():
            part.data.zero_()  # no class is drawn for, so one without a row changes nothing
        n = steps(len(rows), self.passes)

        def objective(network: nn.Module, batch: Batch, _generator: Generator) -> Tensor:
            assert isinstance(network, Contested)
            network.updates += 1
            h, known = network.hidden(batch.x), batch.y >= 0
            weight = self.strength * rising(float(network.updates) / n)
            loss = network.domain_loss(h, ~known, weight)
            if known.any():
                named = network.logits(h[known])
                loss = loss + functional.cross_entropy(named, batch.y[known])
            return loss

        recipe = Recipe(n, min(BATCH, len(rows)), 4e-3, 20, self.decay, seed=self.seed)
        return fitted(net, rows, objective, recipe).model()
