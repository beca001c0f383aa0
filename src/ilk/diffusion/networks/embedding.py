"""Embedding of the noise level and the class."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

N_FREQUENCIES = 16
MIN_FREQUENCY, MAX_FREQUENCY = (
    0.25,
    8.0,
)  # radians per unit of ln(sigma)


class ConditionEmbedding(nn.Module):
    """`(ln sigma [b], class index [b]) -> [b, width]`; index `classes` is the null class."""

    frequencies: Tensor

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        frequencies = torch.linspace(
            math.log(MIN_FREQUENCY), math.log(MAX_FREQUENCY), N_FREQUENCIES
        ).exp()
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.noise_embed = nn.Sequential(
            nn.Linear(2 * N_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.class_embed = nn.Embedding(classes + 1, width)
        self.output = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, noise: Tensor, classes: Tensor) -> Tensor:
        angle = noise.float()[:, None] * self.frequencies
        level = self.noise_embed(torch.cat([angle.cos(), angle.sin()], 1))
        return cast(Tensor, self.output(level + self.class_embed(classes)))
