"""A small diffusion transformer.

William Peebles and Saining Xie, 2023, Scalable Diffusion Models with Transformers,
arXiv 2212.09748: patches are tokens; each block has a scale, a shift and a gate computed from the
embedding and initialised to zero, so that every block starts as the identity (adaLN-Zero).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.errors import InputError
from ilk.diffusion.networks.attention import attend
from ilk.diffusion.networks.embedding import ConditionEmbedding


class DiTBlock(nn.Module):
    """Attention and a two-layer perceptron, each scaled, shifted and gated."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = nn.Linear(width, 6 * width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        modulation = self.modulation(embedding)[:, None].chunk(6, -1)
        attended = attend(self.qkv(modulate(x, modulation[0], modulation[1])), self.heads)
        x = x + modulation[2] * self.proj(attended)
        hidden = functional.gelu(
            self.fc1(modulate(x, modulation[3], modulation[4])), approximate="tanh"
        )
        return cast(Tensor, x + modulation[5] * self.fc2(hidden))


class DiT(nn.Module):
    """`(x [b, c, size, size], noise [b], classes [b]) -> [b, c, size, size]`.

    With several classes per image, `classes [b, m]`, the result is `[b m, c, size, size]`, the
    classes of an image in consecutive rows.

    Args:
        channels: Image (or latent) channels.
        size: Height and width, a multiple of `patch`.
        classes: k; class index k is the null class.
        width: Width of a token, a multiple of `heads`.
        depth: Number of layers.
        heads: Number of attention heads.
        patch: Patch size in pixels.

    Raises:
        InputError: `size` or `width` is not such a multiple.
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
        self.patch, self.grid_size = patch, size // patch
        self.embedding = ConditionEmbedding(classes, width)
        self.proj_in = nn.Linear(channels * patch**2, width)
        self.pos_embed = nn.Parameter(0.02 * torch.randn(self.grid_size**2, width))
        self.layers = nn.ModuleList(DiTBlock(width, heads) for _ in range(depth))
        self.modulation = nn.Linear(width, 2 * width)
        self.proj_out = nn.Linear(width, channels * patch**2)
        for zero in (self.modulation, self.proj_out):
            nn.init.zeros_(zero.weight)
            nn.init.zeros_(zero.bias)

    def forward(self, x: Tensor, noise: Tensor, classes: Tensor) -> Tensor:
        if classes.dim() == 2:
            per_image, classes = classes.shape[1], classes.flatten()
            x, noise = x.repeat_interleave(per_image, 0), noise.repeat_interleave(per_image)
        e = self.embedding(noise, classes)
        tokens = functional.pixel_unshuffle(x, self.patch).flatten(2).transpose(1, 2)
        h = self.proj_in(tokens) + self.pos_embed
        for layer in self.layers:
            h = layer(h, e)
        scale, shift = self.modulation(e)[:, None].chunk(2, -1)
        out = self.proj_out(modulate(h, scale, shift)).transpose(1, 2)
        return functional.pixel_shuffle(
            out.unflatten(2, (self.grid_size, self.grid_size)), self.patch
        )


def modulate(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Layer-normalise tokens `[b, n, width]`, then scale and shift by `[b, 1, width]`."""
    return functional.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift
