"""SatDiFuser: maps of several blocks and noise levels, weighed and added up.

Yuru Jia and others, 2025, Can Generative Geospatial Diffusion Models Excel as Discriminative
Geospatial Foundation Models?, arXiv 2503.07890. Every stream (a block at a level) goes through a
bottleneck of its own to a common width. Streams of one map size are then fused, by one weight a
stream (`GlobalWeighted`), by weights of each place (`LocalWeighted`), or by experts
(`ilk.diffusion.heads.experts`). What is fused at each size is made as large as the largest, added
up, averaged over places, and classified by one linear layer.

The paper reads maps along a deterministic inversion of the sampler; ours are of the fixed noise of
`ilk.diffusion.features`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import gcd
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.diffusion.heads.head import Head, Shape
from ilk.errors import InputError

GROUPS = 32


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions with group norm, and a 1 x 1 way round."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        narrow = max(1, outside // 4)

        def norm(channels: int) -> nn.Module:
            return nn.GroupNorm(gcd(GROUPS, channels), channels)

        self.layers = nn.Sequential(
            nn.Conv2d(inside, narrow, 1, bias=False),
            norm(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, narrow, 3, padding=1, bias=False),
            norm(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, outside, 1, bias=False),
            norm(outside),
        )
        self.way = nn.Conv2d(inside, outside, 1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.way(x) + self.layers(x))


class Fusion(Head, ABC):
    """What the three fusions share; each says how streams of one map size become one map.

    Args:
        shapes: Of the blocks' maps, at one level.
        levels: Noise levels; maps come level by level.
        classes: k.
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

    def streams(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Every map at the common width."""
        if len(maps) != len(self.bottlenecks):
            raise InputError(f"{len(maps)} maps for {len(self.bottlenecks)} streams")
        return [narrow(seen) for narrow, seen in zip(self.bottlenecks, maps, strict=True)]

    @abstractmethod
    def fused(self, streams: Sequence[Tensor]) -> list[Tensor]:
        """One map `[n, width, side, side]` a map size, smallest first."""

    def forward(self, *maps: Tensor) -> Tensor:
        scales = self.fused(self.streams(maps))
        whole = sum(
            (functional.interpolate(s, scales[-1].shape[2:], mode="bilinear") for s in scales[:-1]),
            scales[-1],
        )
        return cast(Tensor, self.out(whole.mean((2, 3))))


class GlobalWeighted(Fusion):
    """One weight a stream: a softmax over all of them, of every map size and level."""

    def __init__(self, shapes: Sequence[Shape], levels: int, classes: int, width: int = 64) -> None:
        super().__init__(shapes, levels, classes, width)
        self.weights = nn.Parameter(torch.zeros(len(self.bottlenecks)))

    def fused(self, streams: Sequence[Tensor]) -> list[Tensor]:
        share = self.weights.softmax(0)
        return [
            torch.stack([share[i] * streams[i] for i in members]).sum(0)
            for members in self.scales.values()
        ]


class LocalWeighted(Fusion):
    """Weights of each place: a softmax over the streams of its map size."""

    def __init__(self, shapes: Sequence[Shape], levels: int, classes: int, width: int = 64) -> None:
        super().__init__(shapes, levels, classes, width)
        self.gates = nn.ModuleList(nn.Conv2d(width, len(m), 1) for m in self.scales.values())

    def shares(self, scale: int, streams: Tensor) -> Tensor:
        """Weights `[n, K, side, side]` of streams `[n, K, width, side, side]` of one map size."""
        logits: Tensor = self.gates[scale](streams.mean(1))
        return logits.softmax(1)

    def fused(self, streams: Sequence[Tensor]) -> list[Tensor]:
        out = []
        for scale, members in enumerate(self.scales.values()):
            here = torch.stack([streams[i] for i in members], 1)
            out.append((self.shares(scale, here)[:, :, None] * here).sum(1))
        return out
