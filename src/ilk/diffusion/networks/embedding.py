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


class AttributeEmbedding(nn.Module):
    """`index of a caption [b] -> [b, width]`; a caption lists objects with attributes.

    Objects are embedded one by one and summed, so that captions share all weights and a caption can
    be composed of objects that were only seen in others. An object is embedded as a whole: a sum
    over attributes alone could not say which attribute belongs to which object.

    Args:
        table: Attribute values `[captions, objects, attributes]`, counted from 0; the order of
            objects (say, left and right) matters. The index after the last is the null caption.
        width: Width of the result.
    """

    table: Tensor

    def __init__(self, table: Tensor, width: int) -> None:
        super().__init__()
        _, objects, attributes = table.shape
        self.register_buffer("table", table)
        self.values = nn.ModuleList(
            nn.Embedding(int(table[:, :, a].max()) + 1, width) for a in range(attributes)
        )
        self.place = nn.Parameter(torch.randn(objects, width))
        self.object = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.output = nn.Linear(width, width)
        self.null = nn.Parameter(torch.randn(width))

    def forward(self, captions: Tensor) -> Tensor:
        is_null = captions >= len(self.table)
        rows = self.table[captions.masked_fill(is_null, 0)]
        parts = [embed(rows[:, :, a]) for a, embed in enumerate(self.values)]
        objects = self.object(torch.stack(parts).sum(0) + self.place)
        return torch.where(is_null[:, None], self.null, self.output(objects.sum(1)))


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
        self.class_embed: nn.Module = nn.Embedding(classes + 1, width)
        self.output = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, noise: Tensor, classes: Tensor) -> Tensor:
        angle = noise.float()[:, None] * self.frequencies
        level = self.noise_embed(torch.cat([angle.cos(), angle.sin()], 1))
        return cast(Tensor, self.output(level + self.class_embed(classes)))
