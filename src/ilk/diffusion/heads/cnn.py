"""Convolutional head of arXiv 2307.08702.

The widths of the paper are not published; here there are two 3 x 3 convolutions (group norm, ReLU),
the second with stride 2 for maps of 8 and more, followed by global averaging and a linear layer.
"""

from __future__ import annotations

from math import gcd
from typing import cast

from torch import Tensor, nn

from ilk.diffusion.heads.head import Head, Shape


class CNNHead(Head):
    """Convolutional head; see the module.

    Args:
        shape: Shape of the map.
        classes: Number of classes k.
        width: Channels of the convolutions.
    """

    def __init__(self, shape: Shape, classes: int, width: int = 128) -> None:
        super().__init__()
        stride, groups = 2 if shape[1] >= 8 else 1, gcd(8, width)
        self.layers = nn.Sequential(
            nn.Conv2d(shape[0], width, 3, padding=1),
            nn.GroupNorm(groups, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, padding=1),
            nn.GroupNorm(groups, width),
            nn.ReLU(),
        )
        self.out = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.out(self.layers(x).mean((2, 3))))
