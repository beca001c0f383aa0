"""The image's own part of an optimised noise: a small U-Net that looks at the clean image.

Wang and Chen, 2025, Noise Matters: Optimizing Matching Noise for Diffusion Classifiers,
arXiv 2508.11330. The released network has batch norms that are never switched to evaluation, so
that an image's noise hangs on its batch; group norms are the clean equivalent and are taken here.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from ilk.errors import InputError

GROUPS, SMALLEST = 8, 4  # groups of a normalisation; pixels a side at the coarsest level


def depth(height: int, width: int, most: int = 4) -> int:
    """Levels of a U-Net for images of this size: each halves the last, none is below 4 pixels."""
    levels = 1
    while levels < most and not height % 2 and not width % 2 and min(height, width) >= 2 * SMALLEST:
        height, width, levels = height // 2, width // 2, levels + 1
    return levels


class Offset(nn.Module):
    """`clean [b, c, h, w] -> noise [b, c, h, w]`; zero until it is trained.

    Args:
        channels: Colours, or latent channels.
        levels: Sizes it looks at, see `depth`.
        width: Channels at the finest level, a multiple of 8; each level has twice the last's.
    """

    def __init__(self, channels: int, levels: int = 4, width: int = 64) -> None:
        super().__init__()
        if width < GROUPS or width % GROUPS or levels < 1:
            raise InputError(
                f"an offset of width {width} and {levels} levels cannot be: "
                f"take a multiple of {GROUPS} and at least one level"
            )
        self.levels, self.width = levels, width
        widths = [width * 2**i for i in range(levels)]
        self.down = nn.ModuleList([twice(a, b) for a, b in pairs([channels, *widths])])
        self.widen = nn.ModuleList([nn.ConvTranspose2d(b, a, 2, 2) for a, b in pairs(widths)])
        self.up = nn.ModuleList([twice(2 * a, a) for a, _ in pairs(widths)])
        self.exit = nn.Conv2d(width, channels, 1)
        nn.init.zeros_(self.exit.weight)
        nn.init.zeros_(cast(Tensor, self.exit.bias))

    def forward(self, x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        for i, block in enumerate(self.down):
            x = block(nn.functional.max_pool2d(x, 2) if i else x)
            seen.append(x)
        for widen, block, same in zip(
            reversed(self.widen), reversed(self.up), reversed(seen[:-1]), strict=True
        ):
            x = block(torch.cat([widen(x), same], 1))
        return cast(Tensor, self.exit(x))


def pairs(widths: list[int]) -> list[tuple[int, int]]:
    """Each with the one after it."""
    return list(pairwise(widths))


def twice(inside: int, outside: int) -> nn.Sequential:
    """3 x 3 convolution, group norm, ReLU, two times over."""
    layers: list[nn.Module] = []
    for a in (inside, outside):
        layers += [
            nn.Conv2d(a, outside, 3, padding=1, bias=False),
            nn.GroupNorm(GROUPS, outside),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)
