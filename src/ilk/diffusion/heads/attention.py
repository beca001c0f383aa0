"""Attention head of arXiv 2307.08702: the places of a map as tokens, and one that sums them up.

There is no positional embedding: the answer does not hang on the order of the tokens (but for the
layer normalisation, which has a gain and an offset for each channel *and* place).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.diffusion.attention import attend
from ilk.diffusion.heads.head import Head, Shape
from ilk.errors import InputError

FINEST = 16  # tokens a side


class JointNorm(nn.Module):
    """Layer normalisation over channels and places together, `[c, p, p]`.

    Gain and offset are kept as vectors, which is what the optimiser should take them for.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = list(shape)
        size = shape[0] * shape[1] * shape[2]
        self.gain, self.offset = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        gain, offset = self.gain.view(self.shape), self.offset.view(self.shape)
        return functional.layer_norm(x, self.shape, gain, offset)


class Tokens(nn.Module):
    """A map `[n, c, h, w]` as tokens `[n, p * p, width]`: pooled, normalised, projected."""

    def __init__(self, shape: Shape, width: int, pool: int = FINEST) -> None:
        super().__init__()
        self.side = min(shape[1], shape[2], pool)
        self.norm = JointNorm((shape[0], self.side, self.side))
        self.project = nn.Conv2d(shape[0], width, 1)

    def forward(self, seen: Tensor) -> Tensor:
        pooled = functional.adaptive_avg_pool2d(seen, self.side)
        return cast(Tensor, self.project(self.norm(pooled)).flatten(2).transpose(1, 2))


class Layer(nn.Module):
    """Pre-norm attention and a two-layer network, each with a way round."""

    def __init__(self, width: int, heads: int, ratio: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.seen = nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, ratio * width), nn.Linear(ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.seen(attend(self.qkv(self.norm1(x)), self.heads))
        return cast(Tensor, x + self.narrow(functional.gelu(self.wide(self.norm2(x)))))


class Summary(nn.Module):
    """Tokens `[n, t, width]` summed up in one, `[n, width]`: a token that starts at zero."""

    def __init__(self, width: int, heads: int = 8, depth: int = 2) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"{heads} heads do not divide a width of {width}")
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(depth)))

    def forward(self, tokens: Tensor) -> Tensor:
        first = self.cls.to(tokens.dtype).expand(len(tokens), -1, -1)
        return cast(Tensor, self.layers(torch.cat([first, tokens], 1))[:, 0])


class AttentionHead(Head):
    """See the module.

    Args:
        shape: Of the map.
        classes: k.
        width: Of a token, a multiple of `heads`; 1024 in the paper, on 1024 channels.
        heads: Attention heads.
        depth: Layers.
        pool: Tokens a side at most.
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        width: int = 128,
        heads: int = 8,
        depth: int = 2,
        pool: int = FINEST,
    ) -> None:
        super().__init__()
        self.tokens = Tokens(shape, width, pool)
        self.summary = Summary(width, heads, depth)
        self.out = nn.Linear(width, classes)

    def forward(self, seen: Tensor) -> Tensor:
        return cast(Tensor, self.out(self.summary(self.tokens(seen))))
