"""What a network is told beside the image: how noisy it is, and of which class."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

WAVES = 16
SLOWEST, FASTEST = 0.25, 8.0  # radians a unit of ln(sigma): about one turn to many over the range


class Embedding(nn.Module):
    """`(ln sigma [b], class index [b]) -> [b, width]`; index `classes` means "not told"."""

    waves: Tensor

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        rates = torch.linspace(math.log(SLOWEST), math.log(FASTEST), WAVES).exp()
        self.register_buffer("waves", rates, persistent=False)
        self.level = nn.Sequential(nn.Linear(2 * WAVES, width), nn.SiLU(), nn.Linear(width, width))
        self.classes = nn.Embedding(classes + 1, width)
        self.both = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, noise: Tensor, classes: Tensor) -> Tensor:
        angle = noise.float()[:, None] * self.waves
        level = self.level(torch.cat([angle.cos(), angle.sin()], 1))
        return cast(Tensor, self.both(level + self.classes(classes)))
