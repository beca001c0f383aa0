"""A small diffusion transformer.

William Peebles and Saining Xie, 2023, Scalable Diffusion Models with Transformers,
arXiv 2212.09748: patches as tokens, and in each block a scale, a shift and a gate from the
embedding, which start at zero so that every block starts as the identity (adaLN-Zero).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.diffusion.attention import attend
from ilk.diffusion.embedding import Embedding
from ilk.errors import InputError


class Layer(nn.Module):
    """Attention and a two-layer network, each scaled, shifted and gated."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.told = nn.Linear(width, 6 * width)
        self.qkv = nn.Linear(width, 3 * width)
        self.seen = nn.Linear(width, width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        nn.init.zeros_(self.told.weight)
        nn.init.zeros_(self.told.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        told = self.told(embedding)[:, None].chunk(6, -1)
        seen = attend(self.qkv(modulated(x, told[0], told[1])), self.heads)
        x = x + told[2] * self.seen(seen)
        wide = functional.gelu(self.wide(modulated(x, told[3], told[4])), approximate="tanh")
        return cast(Tensor, x + told[5] * self.narrow(wide))


class DiT(nn.Module):
    """`(x [b, c, size, size], noise [b], classes [b]) -> [b, c, size, size]`.

    Args:
        channels: Colours (or latent channels) of an image.
        size: Height and width, a multiple of `patch`.
        classes: k; class index k means "not told".
        width: Numbers a token, a multiple of `heads`.
        depth: Layers.
        heads: Attention heads.
        patch: Pixels a token covers, each way.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        width: int = 192,
        depth: int = 6,
        heads: int = 4,
        patch: int = 4,
    ) -> None:
        super().__init__()
        if size % patch:
            raise InputError(
                f"a DiT with patches of {patch} cannot take images of {size} pixels; "
                f"the size must be a multiple of {patch}"
            )
        if width % heads:
            raise InputError(f"{heads} heads do not divide a width of {width}")
        self.patch, self.side = patch, size // patch
        self.embedding = Embedding(classes, width)
        self.entry = nn.Linear(channels * patch**2, width)
        self.places = nn.Parameter(0.02 * torch.randn(self.side**2, width))
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(depth))
        self.told = nn.Linear(width, 2 * width)
        self.exit = nn.Linear(width, channels * patch**2)
        for zero in (self.told, self.exit):
            nn.init.zeros_(zero.weight)
            nn.init.zeros_(zero.bias)

    def forward(self, x: Tensor, noise: Tensor, classes: Tensor) -> Tensor:
        e = self.embedding(noise, classes)
        tokens = functional.pixel_unshuffle(x, self.patch).flatten(2).transpose(1, 2)
        h = self.entry(tokens) + self.places
        for layer in self.layers:
            h = layer(h, e)
        scale, shift = self.told(e)[:, None].chunk(2, -1)
        out = self.exit(modulated(h, scale, shift)).transpose(1, 2)
        return functional.pixel_shuffle(out.unflatten(2, (self.side, self.side)), self.patch)


def modulated(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Each token at mean 0 and variance 1, then scaled and shifted."""
    return functional.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift
