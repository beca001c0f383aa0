"""A small convolutional network whose feature maps are scaled, stripe by stripe, while it learns.

Wenhao Wang and others, 2020, Attentive WaveBlock, arXiv 2006.06525; the attention is that of
Sanghyun Woo and others, 2018, CBAM: Convolutional Block Attention Module, arXiv 1807.06521.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS, CELLS = (8, 16, 32), 3  # channels; places each way that the last layer reads


def wave(x: Tensor, ratio: float, factor: float, generator: torch.Generator) -> Tensor:
    """`x [n, c, h, w]` times `factor`, but for a stripe of `round(ratio h)` rows.

    The stripe is drawn once for the whole batch.
    """
    height = x.shape[2]
    stripe = round(ratio * height)
    start = int(torch.randint(height - stripe + 1, (), generator=generator))
    scale = torch.full((height, 1), factor)
    scale[start : start + stripe] = 1.0
    return x * scale.to(x)


class Attention(nn.Module):
    """Channels, then places, weighed between 0 and 1 by what they hold, and added to the map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(2, channels // 4)
        self.channel = nn.Sequential(
            nn.Linear(channels, narrow), nn.ReLU(), nn.Linear(narrow, channels)
        )
        self.place = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        told = self.channel(x.mean((2, 3))) + self.channel(x.amax((2, 3)))
        y = x * told.sigmoid()[:, :, None, None]
        where = self.place(torch.stack([y.mean(1), y.amax(1)], 1))
        added: Tensor = x + y * where.sigmoid()
        return added


class Waved(nn.Module):
    """Three convolutions, a wave after the first and the second, and a linear layer.

    Args:
        channels: Of the images.
        classes: k.
        ratio, factor: Of the waves; a factor of 1 is none.
        attention: Whether each wave comes after attention.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        ratio: float = 0.3,
        factor: float = 1.5,
        attention: bool = True,
    ) -> None:
        super().__init__()
        self.ratio, self.factor = ratio, factor
        sides = (channels, *WIDTHS)
        self.layers = nn.ModuleList(
            nn.Conv2d(i, o, k, stride=2, padding=k // 2)
            for i, o, k in zip(sides, WIDTHS, (5, 3, 3), strict=False)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(1, o) for o in WIDTHS)
        self.attentions = nn.ModuleList(
            Attention(o) if attention else nn.Identity() for o in WIDTHS[:2]
        )
        self.outer = nn.Linear(WIDTHS[-1] * CELLS**2, classes)

    def features(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What the last layer reads, `[n, 288]`; waves are drawn where there is a generator."""
        for at, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            x = functional.relu(norm(layer(x)))
            if at < len(self.attentions):
                x = self.attentions[at](x)
                if generator is not None and self.factor != 1:
                    x = wave(x, self.ratio, self.factor, generator)
        return functional.adaptive_avg_pool2d(x, CELLS).flatten(1)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Logits `[n, k]` of images `[n, c, h, w]`."""
        logits: Tensor = self.outer(self.features(x, generator))
        return logits
