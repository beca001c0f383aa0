"""ArcFace: cross-entropy over cosines, the own class's angle made larger by a margin.

Jiankang Deng, Jia Guo, Niannan Xue, Stefanos Zafeiriou, 2019, ArcFace: Additive Angular Margin
Loss for Deep Face Recognition, arXiv 1801.07698, equation 3. Where the angle and the margin are
more than pi together, the cosine would rise again; there the logit falls on, as
`cos theta - margin sin margin`.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from ilk.training.metric_objective import ProxyObjective
from ilk.training.objective import TrainingStep


class ArcFace(ProxyObjective):
    """Cross-entropy of `scale cos(theta + margin)` for the own class, `scale cos theta` for others.

    Args:
        margin: Angle in radians, in [0, pi / 2).
        scale: Scale of the cosines, > 0; with ten classes or fewer, more than 30 saturates.
        proxy_lr: Highest learning rate of the proxies, > 0.
    """

    TUNED: ClassVar = ("margin", (0.1, 0.2, 0.4))

    def __init__(self, margin: float = 0.2, scale: float = 24.0, proxy_lr: float = 0.03) -> None:
        super().__init__(proxy_lr)
        self.margin, self.scale = margin, scale

    def compute_loss(self, z: Tensor, y: Tensor, step: TrainingStep) -> Tensor:
        """Return the loss of unit embeddings `[b, e]` of classes `y [b]`, a scalar."""
        if not len(z):
            return z.sum()
        cosines = self.compute_cosines(z)
        own = cosines.gather(1, y[:, None])
        sine = (1 - own**2).clamp(min=1e-8).sqrt()
        widened = own * math.cos(self.margin) - sine * math.sin(self.margin)
        fallen = own - self.margin * math.sin(self.margin)
        goes_on = own > math.cos(math.pi - self.margin)
        target = torch.where(goes_on, widened, fallen)
        logits = cosines.scatter(1, y[:, None], target)
        return functional.cross_entropy(self.scale * logits, y)
