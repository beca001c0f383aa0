"""The image-dependent part of an optimized noise: a small U-Net on the clean image.

Wang and Chen, 2025, Noise Matters: Optimizing Matching Noise for Diffusion Classifiers,
arXiv 2508.11330. Departure from the released network, whose batch norms always use the statistics
of the batch, so that the noise of an image depends on the others: group norms.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from ilk.core.errors import InputError

GROUPS, MIN_SIDE = 8, 4  # groups of a normalisation; pixels a side at the coarsest level


def count_levels(height: int, width: int, max_levels: int = 4) -> int:
    """Return the number of U-Net levels: each halves the resolution, to at least 4."""
    levels = 1
    while (
        levels < max_levels
        and not height % 2
        and not width % 2
        and min(height, width) >= 2 * MIN_SIDE
    ):
        height, width, levels = height // 2, width // 2, levels + 1
    return levels


class OffsetNetwork(nn.Module):
    """`clean [b, c, h, w] -> noise [b, c, h, w]`; zero at initialisation.

    Args:
        channels: Image (or latent) channels.
        levels: Number of resolutions, see `count_levels`.
        width: Channels at the finest level, a multiple of 8; doubled at each level.

    Raises:
        InputError: `width` or `levels` is invalid.
    """

    def __init__(self, channels: int, levels: int = 4, width: int = 64) -> None:
        super().__init__()
        if width < GROUPS or width % GROUPS or levels < 1:
            raise InputError(
                f"an offset of width {width} and {levels} levels is not possible: "
                f"take a multiple of {GROUPS} and at least one level"
            )
        self.levels, self.width = levels, width
        widths = [width * 2**i for i in range(levels)]
        self.down = nn.ModuleList(
            [make_double_conv(a, b) for a, b in pair_widths([channels, *widths])]
        )
        self.upsamplers = nn.ModuleList(
            [nn.ConvTranspose2d(b, a, 2, 2) for a, b in pair_widths(widths)]
        )
        self.up = nn.ModuleList([make_double_conv(2 * a, a) for a, _ in pair_widths(widths)])
        self.conv_out = nn.Conv2d(width, channels, 1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(cast(Tensor, self.conv_out.bias))

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for i, block in enumerate(self.down):
            x = block(nn.functional.max_pool2d(x, 2) if i else x)
            skips.append(x)
        for upsample, block, skip in zip(
            reversed(self.upsamplers), reversed(self.up), reversed(skips[:-1]), strict=True
        ):
            x = block(torch.cat([upsample(x), skip], 1))
        return cast(Tensor, self.conv_out(x))


def pair_widths(widths: list[int]) -> list[tuple[int, int]]:
    """Return each width with its successor."""
    return list(pairwise(widths))


def make_double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return two blocks of 3 x 3 convolution, group norm and ReLU."""
    layers: list[nn.Module] = []
    for a in (in_channels, out_channels):
        layers += [
            nn.Conv2d(a, out_channels, 3, padding=1, bias=False),
            nn.GroupNorm(GROUPS, out_channels),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)
