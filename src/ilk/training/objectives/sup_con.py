"""Supervised contrastive loss: every row of the class is a positive of a softmax over the batch.

Prannay Khosla and others, 2020, Supervised Contrastive Learning, arXiv 2004.11362, equation 2. With
two rows per class it is the N-pair loss at a temperature (Kihyuk Sohn, 2016, Improved Deep Metric
Learning with Multi-class N-pair Loss Objective, NeurIPS 2016).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ilk.training.metric_objective import MetricObjective, find_pairs
from ilk.training.objective import TrainingStep


class SupCon(MetricObjective):
    """`- mean log( e^(s_ip / t) / sum_{a not i} e^(s_ia / t) )`, over rows i and their positives p.

    Args:
        temperature: Divides the cosines, > 0.
    """

    TUNED: ClassVar = ("temperature", (0.05, 0.1, 0.2))

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def compute_loss(self, z: Tensor, y: Tensor, step: TrainingStep) -> Tensor:
        """Return the loss of unit embeddings `[b, e]` of classes `y [b]`, a scalar."""
        if len(z) < 2:
            return 0 * z.sum()
        positive, _ = find_pairs(y)
        own = torch.eye(len(z), dtype=torch.bool, device=z.device)
        logits = (z @ z.T / self.temperature).masked_fill(own, -torch.inf)
        log_p = (logits - torch.logsumexp(logits, 1, keepdim=True)).masked_fill(own, 0)
        counts = positive.sum(1)
        losses = -(log_p * positive).sum(1) / counts.clamp(min=1)
        return losses.sum() / (counts > 0).sum().clamp(min=1)
