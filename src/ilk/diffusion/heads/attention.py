"""Attention head of arXiv 2307.08702: the positions of a map as tokens, with a class token.

There is no positional embedding, so the output does not depend on the order of the tokens (except
through the layer normalisation, which has a gain and an offset for each channel and position).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.errors import InputError
from ilk.diffusion.heads.head import Head, Shape
from ilk.diffusion.networks.attention import attend

MAX_SIDE = 16  # tokens a side


class JointNorm(nn.Module):
    """Layer normalisation over channels and positions jointly, `[c, p, p]`.

    Gain and offset are stored as vectors, so that the optimizer treats them as such.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = list(shape)
        size = shape[0] * shape[1] * shape[2]
        self.gain, self.offset = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        gain, offset = self.gain.view(self.shape), self.offset.view(self.shape)
        return functional.layer_norm(x, self.shape, gain, offset)


class TokenProjection(nn.Module):
    """Convert a map `[n, c, h, w]` to tokens `[n, p * p, width]`: pool, normalise, project."""

    def __init__(self, shape: Shape, width: int, pool: int = MAX_SIDE) -> None:
        super().__init__()
        self.side = min(shape[1], shape[2], pool)
        self.norm = JointNorm((shape[0], self.side, self.side))
        self.project = nn.Conv2d(shape[0], width, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = functional.adaptive_avg_pool2d(x, self.side)
        return cast(Tensor, self.project(self.norm(pooled)).flatten(2).transpose(1, 2))


class TransformerLayer(nn.Module):
    """Pre-norm attention and a two-layer perceptron, each with a residual connection."""

    def __init__(self, width: int, heads: int, ratio: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, ratio * width), nn.Linear(ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.proj(attend(self.qkv(self.norm1(x)), self.heads))
        return cast(Tensor, x + self.fc2(functional.gelu(self.fc1(self.norm2(x)))))


class ClassTokenEncoder(nn.Module):
    """Summarise tokens `[n, t, width]` as `[n, width]` by a class token initialised to zero."""

    def __init__(self, width: int, heads: int = 8, depth: int = 2) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"{heads} heads do not divide a width of {width}")
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.layers = nn.Sequential(*(TransformerLayer(width, heads) for _ in range(depth)))

    def forward(self, tokens: Tensor) -> Tensor:
        first = self.cls.to(tokens.dtype).expand(len(tokens), -1, -1)
        return cast(Tensor, self.layers(torch.cat([first, tokens], 1))[:, 0])


class AttentionHead(Head):
    """Attention head; see the module.

    Args:
        shape: Shape of the map.
        classes: Number of classes k.
        width: Width of a token, a multiple of `heads`; 1024 in the paper, for 1024 channels.
        heads: Number of attention heads.
        depth: Number of layers.
        pool: Maximum tokens per side.
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        width: int = 128,
        heads: int = 8,
        depth: int = 2,
        pool: int = MAX_SIDE,
    ) -> None:
        super().__init__()
        self.tokens = TokenProjection(shape, width, pool)
        self.summary = ClassTokenEncoder(width, heads, depth)
        self.out = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.out(self.summary(self.tokens(x))))
