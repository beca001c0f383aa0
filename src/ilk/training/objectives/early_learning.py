"""Early-learning regularization: what the network predicted early outweighs a conflicting label.

Sheng Liu, Jonathan Niles-Weed, Narges Razavian, Carlos Fernandez-Granda, 2020, Early-Learning
Regularization Prevents Memorization of Noisy Labels, arXiv 2007.00151.

    t_i <- beta t_i + (1 - beta) p_i / sum(p_i)       a running target per row, from 0, no gradient
    loss = mean_i [ -log softmax(z_i)[y_i] + weight log(1 - <p_i, t_i>) ]

with p the softmax clamped to [1e-4, 1 - 1e-4].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ilk.training.batch import Batch
from ilk.training.losses import mean_cross_entropy, weighted_mean
from ilk.training.objective import Objective, TrainingStep
from ilk.training.sources import Source

MIN_PROBABILITY = 1e-4  # probabilities are clamped to this distance from 0 and 1


class EarlyLearning(Objective):
    """Cross-entropy with a regularizer towards a running target per row; all rows are labelled.

    Args:
        beta: Momentum of the running targets, in [0, 1).
        weight: Weight of the regularizer, >= 0. Both defaults are the paper's for CIFAR-10 with
            symmetric noise; `ilk.methods.elr` chooses them.

    Attributes:
        targets: Running target of each row of the training set, `[n, k]`.
    """

    targets: Tensor

    def __init__(self, beta: float = 0.7, weight: float = 3.0) -> None:
        super().__init__()
        self.beta, self.weight = beta, weight

    def setup(self, network: nn.Module, data: Source) -> None:
        device = next((str(p.device) for p in network.parameters()), "cpu")
        with torch.no_grad():
            logits = network(data.take(torch.arange(min(2, len(data))), device).x)
        self.register_buffer("targets", torch.zeros(len(data), logits.shape[1]))
        self.targets = self.targets.to(device)

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        if batch.indices is None:
            raise ValueError("EarlyLearning keeps a target per row; the batch needs `indices`")
        z = network(batch.x)
        p = z.softmax(1).clamp(MIN_PROBABILITY, 1 - MIN_PROBABILITY)
        target = p.detach()
        target = self.beta * self.targets[batch.indices] + (1 - self.beta) * target / target.sum(
            1, keepdim=True
        )
        self.targets[batch.indices] = target
        regularizer = weighted_mean(torch.log1p(-(p * target).sum(1)), batch.weight)
        return mean_cross_entropy(z, batch.y, batch.weight) + self.weight * regularizer
