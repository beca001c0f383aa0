"""SatDiFuser: weighted fusion of maps of several blocks and noise levels.

Yuru Jia and others, 2025, Can Generative Geospatial Diffusion Models Excel as Discriminative
Geospatial Foundation Models?, arXiv 2503.07890. Every stream (a block at a level) passes through
its own bottleneck to a common width. Streams of one map size are fused by one weight per stream
(`GlobalWeightedFusion`), by weights per position (`LocalWeightedFusion`), or by experts
(`ilk.diffusion.heads.experts`). The fused maps are upsampled to the largest size, summed, averaged
over positions, and classified by one linear layer.

Departure from the paper, which uses maps along a deterministic inversion of the sampler: the fixed
noise of `ilk.diffusion.features.extract`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import gcd
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.errors import InputError
from ilk.diffusion.heads.head import Head, Shape

GROUPS = 32


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions with group norm, and a 1 x 1 shortcut."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        hidden = max(1, out_channels // 4)

        def norm(channels: int) -> nn.Module:
            return nn.GroupNorm(gcd(GROUPS, channels), channels)

        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, hidden, 1, bias=False),
            norm(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1, bias=False),
            norm(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            norm(out_channels),
        )
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.shortcut(x) + self.layers(x))


class Fusion(Head, ABC):
    """Base class of the fusions; a subclass defines how streams of one map size are combined.

    Args:
        shapes: Shapes of the blocks' maps, at one level.
        levels: Number of noise levels; maps are ordered by level.
        classes: Number of classes k.
        width: Channels of every stream; 384 in the paper.
    """

    def __init__(self, shapes: Sequence[Shape], levels: int, classes: int, width: int = 64) -> None:
        super().__init__()
        self.levels, self.width = levels, width
        self.bottlenecks = nn.ModuleList(
            Bottleneck(shape[0], width) for _ in range(levels) for shape in shapes
        )
        sides = [shape[1] for _ in range(levels) for shape in shapes]
        self.scales = {
            side: [i for i, s in enumerate(sides) if s == side] for side in sorted(set(sides))
        }
        self.out = nn.Linear(width, classes)

    def project_streams(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Project every map `[n, c, h, w]` to `[n, width, h, w]`.

        Raises:
            InputError: The number of maps is not that of the streams.
        """
        if len(maps) != len(self.bottlenecks):
            raise InputError(f"{len(maps)} maps for {len(self.bottlenecks)} streams")
        return [
            bottleneck(block_map)
            for bottleneck, block_map in zip(self.bottlenecks, maps, strict=True)
        ]

    @abstractmethod
    def fuse(self, streams: Sequence[Tensor]) -> list[Tensor]:
        """Return one map `[n, width, side, side]` per map size, smallest first."""

    def forward(self, *maps: Tensor) -> Tensor:
        scales = self.fuse(self.project_streams(maps))
        total = sum(
            (functional.interpolate(s, scales[-1].shape[2:], mode="bilinear") for s in scales[:-1]),
            scales[-1],
        )
        return cast(Tensor, self.out(total.mean((2, 3))))


class GlobalWeightedFusion(Fusion):
    """One weight per stream: a softmax over streams of all map sizes and levels."""

    def __init__(self, shapes: Sequence[Shape], levels: int, classes: int, width: int = 64) -> None:
        super().__init__(shapes, levels, classes, width)
        self.weights = nn.Parameter(torch.zeros(len(self.bottlenecks)))

    def fuse(self, streams: Sequence[Tensor]) -> list[Tensor]:
        """Return one map `[n, width, side, side]` per map size, smallest first."""
        weights = self.weights.softmax(0)
        return [
            torch.stack([weights[i] * streams[i] for i in members]).sum(0)
            for members in self.scales.values()
        ]


class LocalWeightedFusion(Fusion):
    """Weights per position: a softmax over the streams of one map size."""

    def __init__(self, shapes: Sequence[Shape], levels: int, classes: int, width: int = 64) -> None:
        super().__init__(shapes, levels, classes, width)
        self.gates = nn.ModuleList(nn.Conv2d(width, len(m), 1) for m in self.scales.values())

    def compute_weights(self, scale: int, streams: Tensor) -> Tensor:
        """Return weights `[n, K, h, w]` of streams `[n, K, width, h, w]` of one map size."""
        logits: Tensor = self.gates[scale](streams.mean(1))
        return logits.softmax(1)

    def fuse(self, streams: Sequence[Tensor]) -> list[Tensor]:
        """Return one map `[n, width, side, side]` per map size, smallest first."""
        out = []
        for scale, members in enumerate(self.scales.values()):
            stacked = torch.stack([streams[i] for i in members], 1)
            out.append((self.compute_weights(scale, stacked)[:, :, None] * stacked).sum(1))
        return out
