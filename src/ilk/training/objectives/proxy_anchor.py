"""Proxy-anchor loss: a proxy per class draws its rows and pushes others, the hardest most.

Sungyeon Kim, Dongwon Kim, Minsu Cho, Suha Kwak, 2020, Proxy Anchor Loss for Deep Metric Learning,
arXiv 2003.13911, equation 4.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ilk.training.metric_objective import ProxyObjective, log_sum_exp_with_one
from ilk.training.objective import TrainingStep


class ProxyAnchor(ProxyObjective):
    """Means of `log(1 + sum_own e^(-c (s - m)))` and of `log(1 + sum_other e^(c (s + m)))`.

    The first mean is over proxies with rows in the batch, the second over all.

    Args:
        margin: Margin of the cosines, in [0, 1).
        scale: Scale of the cosines, > 0.
        proxy_lr: Highest learning rate of the proxies, > 0.
    """

    TUNED: ClassVar = ("margin", (0.0, 0.1, 0.3))

    def __init__(self, margin: float = 0.1, scale: float = 32.0, proxy_lr: float = 0.03) -> None:
        super().__init__(proxy_lr)
        self.margin, self.scale = margin, scale

    def compute_loss(self, z: Tensor, y: Tensor, step: TrainingStep) -> Tensor:
        """Return the loss of unit embeddings `[b, e]` of classes `y [b]`, a scalar."""
        cosines = self.compute_cosines(z).T  # [k, b]
        own = torch.arange(len(cosines), device=y.device)[:, None] == y
        pull = log_sum_exp_with_one(-self.scale * (cosines - self.margin), own)
        push = log_sum_exp_with_one(self.scale * (cosines + self.margin), ~own)
        return pull.sum() / own.any(1).sum().clamp(min=1) + push.mean()
