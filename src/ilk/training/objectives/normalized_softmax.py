"""Normalized softmax: cross-entropy over the cosines with a learned vector per class.

Andrew Zhai, Hao-Yu Wu, 2019, Classification is a Strong Baseline for Deep Metric Learning,
arXiv 1811.12649, equation 3.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from ilk.training.metric_objective import ProxyObjective
from ilk.training.objective import TrainingStep


class NormalizedSoftmax(ProxyObjective):
    """Cross-entropy of `cosine / temperature`.

    Args:
        temperature: Divides the cosines, > 0.
        proxy_lr: Highest learning rate of the proxies, > 0.
    """

    TUNED: ClassVar = ("temperature", (0.03, 0.05, 0.1))

    def __init__(self, temperature: float = 0.05, proxy_lr: float = 0.03) -> None:
        super().__init__(proxy_lr)
        self.temperature = temperature

    def compute_loss(self, z: Tensor, y: Tensor, step: TrainingStep) -> Tensor:
        """Return the loss of unit embeddings `[b, e]` of classes `y [b]`, a scalar."""
        if not len(z):
            return z.sum()
        return functional.cross_entropy(self.compute_cosines(z) / self.temperature, y)
