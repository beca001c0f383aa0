"""A compact U-Net for small images, told its noise level and class in every block.

Olaf Ronneberger and others, 2015, U-Net, arXiv 1505.04597; the blocks are those of Prafulla
Dhariwal and Alex Nichol, 2021, Diffusion Models Beat GANs on Image Synthesis, arXiv 2105.05233
(group norm, SiLU, 3 x 3 convolution, twice; scale and shift from the embedding between them).

`patch` folds p x p pixels into channels at the door and unfolds them at the end: a quarter of the
places at patch 2, and what a diffusion classifier reads at high noise is not lost by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.diffusion.attention import attend
from ilk.diffusion.embedding import Embedding
from ilk.errors import InputError

GROUPS = 8  # groups of the normalisations; every width is a multiple of it
WIDEST = 256  # numbers that say noise level and class


class Block(nn.Module):
    """Two convolutions and a way round them; the second starts at zero."""

    def __init__(self, inside: int, outside: int, embedding: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, inside)
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1)
        self.norm2 = nn.GroupNorm(GROUPS, outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1)
        self.film = nn.Linear(embedding, 2 * outside)
        self.way = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(cast(Tensor, self.conv2.bias))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.film(embedding)[:, :, None, None].chunk(2, 1)
        h = self.conv1(functional.silu(self.norm1(x)))
        h = self.norm2(h) * (1 + scale) + shift
        return cast(Tensor, self.way(x) + self.conv2(functional.silu(h)))


class Attention(nn.Module):
    """Every place looks at every other; starts as the identity."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        seen = self.out(attend(self.qkv(tokens), self.heads))
        return cast(Tensor, x + seen.transpose(1, 2).reshape(b, c, h, w))


class UNet(nn.Module):
    """`(x [b, c, size, size], noise [b], classes [b]) -> [b, c, size, size]`.

    Args:
        channels: Colours (or latent channels) of an image.
        size: Height and width.
        classes: k; class index k means "not told".
        width: Channels at the finest level, a multiple of 8.
        levels: Channels of each level in `width`s; each level has half the size of the last.
        blocks: Blocks a level.
        patch: Pixels folded into channels, each way.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        width: int = 64,
        levels: Sequence[int] = (1, 2),
        blocks: int = 1,
        patch: int = 1,
    ) -> None:
        super().__init__()
        check(size, len(levels), patch, width)
        self.patch = patch
        self.embedding = Embedding(classes, min(4 * width, WIDEST))
        inside, e, widths = channels * patch**2, min(4 * width, WIDEST), [width * m for m in levels]
        self.entry = nn.Conv2d(inside, width, 3, padding=1)
        self.down, self.up, skips, w = nn.ModuleList(), nn.ModuleList(), [width], width
        for i, level in enumerate(widths):
            if i:
                self.down.append(nn.Conv2d(w, w, 3, stride=2, padding=1))
                skips.append(w)
            for _ in range(blocks):
                self.down.append(Block(w, level, e))
                skips.append(w := level)
        self.middle = nn.ModuleList([Block(w, w, e), Attention(w), Block(w, w, e)])
        for i, level in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                self.up.append(Block(w + skips.pop(), level, e))
                w = level
            if i:
                self.up.append(nn.Conv2d(w, widths[i - 1], 3, padding=1))
                w = widths[i - 1]
        self.norm = nn.GroupNorm(GROUPS, w)
        self.exit = nn.Conv2d(w, inside, 3, padding=1)
        nn.init.zeros_(self.exit.weight)
        nn.init.zeros_(cast(Tensor, self.exit.bias))

    def forward(self, x: Tensor, noise: Tensor, classes: Tensor) -> Tensor:
        e = self.embedding(noise, classes)
        x = functional.pixel_unshuffle(x, self.patch)
        h = self.entry(x.contiguous(memory_format=torch.channels_last))
        skips = [h]
        for layer in self.down:
            h = layer(h, e) if isinstance(layer, Block) else layer(h)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, e) if isinstance(layer, Block) else layer(h)
        for layer in self.up:
            if isinstance(layer, Block):
                h = layer(torch.cat([h, skips.pop()], 1), e)
            else:
                h = layer(functional.interpolate(h, scale_factor=2.0, mode="nearest"))
        return functional.pixel_shuffle(self.exit(functional.silu(self.norm(h))), self.patch)


def check(size: int, levels: int, patch: int, width: int) -> None:
    """Refuse what does not come out even.

    Raises:
        InputError: `size` is no multiple of `patch * 2 ** (levels - 1)`, or `width` none of 8.
    """
    unit = patch * 2 ** (levels - 1)
    if size % unit:
        near = max(unit, round(size / unit) * unit)
        raise InputError(
            f"a U-Net of {levels} levels on patches of {patch} cannot take images of {size} pixels;"
            f" the size must be a multiple of {unit}, such as {near}"
        )
    if width < GROUPS or width % GROUPS:
        raise InputError(f"a U-Net of width {width} cannot be: take a multiple of {GROUPS}")
