"""Distillation: labels teach all classes, and a teacher's logits those it already knew.

Geoffrey Hinton, Oriol Vinyals, Jeff Dean, 2015, Distilling the Knowledge in a Neural Network,
arXiv 1503.02531; Zhizhong Li, Derek Hoiem, 2016, Learning without Forgetting, arXiv 1606.09282.

    loss = a CE(z, y) - b mean sum_c softmax(t / T)_c log softmax(z / T)_c,  T = 2
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ilk.training.batch import Batch
from ilk.training.class_incremental_head import IncrementalHead
from ilk.training.losses import distillation_loss, mean_cross_entropy
from ilk.training.objective import Objective, TrainingStep
from ilk.training.sources import Source
from ilk.training.teacher_objective import compute_logits

SupervisedLoss = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class Distillation(Objective):
    """Cross-entropy and distillation from fixed logits; all rows are labelled.

    Args:
        teacher_logits: Logits of the teacher for each row of the training set, `[n, m]`; None takes
            those of the network when training starts.
        columns: The classes that the teacher knows, `[m]` int64; None is all.
        weights: Of the supervised loss and of the distillation, each >= 0.
        supervised_loss: `(logits, y, weight) -> scalar`.
    """

    teacher_logits: Tensor
    columns: Tensor

    def __init__(
        self,
        teacher_logits: Tensor | None = None,
        columns: Tensor | None = None,
        weights: tuple[float, float] = (1.0, 1.0),
        supervised_loss: SupervisedLoss = mean_cross_entropy,
    ) -> None:
        super().__init__()
        self.weights, self.supervised_loss = weights, supervised_loss
        if teacher_logits is not None:
            self.register_buffer("teacher_logits", teacher_logits)
            default = torch.arange(teacher_logits.shape[1])
            self.register_buffer("columns", default if columns is None else columns)

    def setup(self, network: nn.Module, data: Source) -> None:
        if hasattr(self, "teacher_logits"):
            return
        logits = compute_logits(network, data)
        self.register_buffer("teacher_logits", logits)
        self.register_buffer("columns", torch.arange(logits.shape[1], device=logits.device))

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        if batch.indices is None:
            raise ValueError("Distillation finds a row's teacher by `batch.indices`")
        logits, (supervised, distilled) = network(batch.x), self.weights
        return supervised * self.supervised_loss(
            logits, batch.y, batch.weight
        ) + distilled * distillation_loss(
            logits[:, self.columns], self.teacher_logits[batch.indices]
        )


def make_distillation(
    incremental: IncrementalHead,
    weights: tuple[float, float],
    supervised_loss: SupervisedLoss = mean_cross_entropy,
) -> Distillation:
    """Return the objective that distills the logits of the old classes from the previous model.

    Args:
        incremental: The head.
        weights: Of the supervised loss and of the distillation.
        supervised_loss: Loss of the labels, `(logits, y, weight) -> scalar`.
    """
    columns = torch.from_numpy(np.flatnonzero(incremental.is_old))
    return Distillation(incremental.compute_old_logits(), columns, weights, supervised_loss)
