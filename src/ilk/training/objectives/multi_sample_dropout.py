"""Multi-sample dropout: the mean loss over several dropout masks on the hidden units.

Hiroshi Inoue, 2019, Multi-Sample Dropout for Accelerated Training and Better Generalization,
arXiv 1905.09788. With M masks r_m of independent entries, 1 / (1 - p) with probability 1 - p and
else 0, on the hidden units h(x), and one output layer W, b for all:

    minimize  (1 / M) sum_m  -log softmax( W (r_m h(x)) + b )[y]
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ilk.architectures.head import Head
from ilk.training.batch import Batch
from ilk.training.losses import mean_cross_entropy
from ilk.training.objective import Objective, TrainingStep, unwrap


class MultiSampleDropoutLoss(Objective):
    """Mean over masks of the cross-entropy; all rows are labelled. The network is a `Head`.

    Args:
        n_masks: Number of masks per update, >= 1; 1 is ordinary dropout.
        dropout: Probability that a hidden unit is dropped, in [0, 1).
    """

    def __init__(self, n_masks: int = 8, dropout: float = 0.5) -> None:
        super().__init__()
        self.n_masks, self.dropout = n_masks, dropout

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        head = unwrap(network, Head)
        hidden = head.compute_hidden(batch.x)
        shape = (self.n_masks, *hidden.shape)
        mask = torch.rand(shape, generator=step.generator, device=hidden.device) >= self.dropout
        logits = head.compute_logits((mask * hidden).div(1 - self.dropout).flatten(0, 1))
        weight = None if batch.weight is None else batch.weight.repeat(self.n_masks)
        return mean_cross_entropy(logits, batch.y.repeat(self.n_masks), weight)
