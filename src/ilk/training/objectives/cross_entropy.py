"""Cross-entropy of the labelled rows, weighted by `Batch.weight`."""

from __future__ import annotations

from torch import Tensor, nn

from ilk.training.batch import Batch
from ilk.training.losses import cross_entropy
from ilk.training.objective import Objective, TrainingStep


class CrossEntropy(Objective):
    """`mean_i w_i -log softmax(z_i)[y_i]` over the labelled rows; 0 where a batch has none."""

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        return cross_entropy(network, batch, step.generator)
