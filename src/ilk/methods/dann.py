"""Domain-adversarial training: hidden units that predict the class but not the domain.

Yaroslav Ganin, Evgeniya Ustinova, Hana Ajakan, Pascal Germain, Hugo Larochelle, François
Laviolette, Mario Marchand, Victor Lempitsky, 2016, Domain-Adversarial Training of Neural Networks,
arXiv 1505.07818. Labelled rows are the source domain, unlabelled rows the target domain. With the
parameters f of the hidden units, y of the label head and d of the domain head,

    f <- f - mu (dL_y / df - lambda dL_d / df),  y <- y - mu dL_y / dy,  d <- d - mu dL_d / dd
    lambda_p = 2 / (1 + exp(-10 p)) - 1  after a fraction p of the updates

which is gradient descent on L_y + L_d with the gradient of L_d reversed on its way to the hidden
units (`ilk.training.objectives.domain_adversarial`).

Departures: the hidden units are one layer on frozen features, where the paper trains a whole
network; the learning rate schedule is that of `ilk.training`; and the domain loss weights each
domain by half, where the paper fills half a batch from each. Aligning the domains also aligns
their class priors, which is wrong where these differ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data
from ilk.core.linear_models import MLP


@dataclass(frozen=True)
class DANN(MethodTags):
    """Domain-adversarial training of a head of one hidden layer.

    Attributes:
        strength: Factor of lambda_p, the weight of the reversed gradient, >= 0; 0 is a plain head.
        hidden: Number of hidden units, >= 1.
        epochs: Passes over all rows, > 0.
        weight_decay: Weight decay, >= 0.
        seed: Seed of weights and order.
    """

    weighted_loss = True
    uses_unlabelled = True

    strength: float = 1.0
    hidden: int = 64
    epochs: float = 30.0
    weight_decay: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.strength < np.inf and 0 <= self.weight_decay < np.inf):
            raise ValueError(
                f"strength is {self.strength}, weight_decay {self.weight_decay}; "
                "both must be finite and at least 0"
            )
        if self.hidden < 1 or not 0 < self.epochs < np.inf:
            raise ValueError(f"hidden is {self.hidden}, epochs {self.epochs}; both must be above 0")

    def fit(self, data: Data) -> MLP:
        from ilk.training.heads import BATCH_SIZE, Head, count_steps, fit_head
        from ilk.training.objectives.domain_adversarial import DomainAdversarial
        from ilk.training.recipe import Recipe

        labelled_features(data, self)
        rows = data.take_weighted()
        rows = replace(rows, x=np.asarray(rows.x, np.float32))
        net = Head.from_data(rows, self.hidden, self.seed)
        for part in net.output_layer.parameters():
            part.data.zero_()  # so that a class without rows does not affect the others
        n, batch_size = count_steps(len(rows), self.epochs), min(BATCH_SIZE, len(rows))
        recipe = Recipe(n, batch_size, 4e-3, 20, self.weight_decay, seed=self.seed)
        objective = DomainAdversarial(self.strength, self.seed)
        return fit_head(net, rows, objective, recipe).to_model()
