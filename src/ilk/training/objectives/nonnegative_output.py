"""Another objective, under output weights that are kept at 0 or above.

Bowen Zhao and others, 2020, Maintaining Discrimination and Fairness in Class Incremental Learning,
arXiv 1911.07053, section 4.2: weights are clipped so that their norm reflects the logits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ilk.architectures.head import Head
from ilk.training.batch import Batch
from ilk.training.losses import cross_entropy
from ilk.training.objective import LossFunction, Objective, TrainingStep, WeightedSum, unwrap


class NonNegativeOutput(WeightedSum):
    """An objective of a `Head` whose output weights are clipped at 0 before each step.

    Args:
        objective: The loss.
    """

    def __init__(self, objective: Objective | LossFunction = cross_entropy) -> None:
        super().__init__((1.0, objective))

    @torch.no_grad()
    def before_step(self, network: nn.Module, step: TrainingStep) -> None:
        unwrap(network, Head).output_layer.weight.clamp_(min=0)
        super().before_step(network, step)

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        loss: Tensor = self.terms[0](network, batch, step)
        return loss
