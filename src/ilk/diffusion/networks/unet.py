"""A compact U-Net for small images, conditioned on noise level and class in every block.

Olaf Ronneberger and others, 2015, U-Net, arXiv 1505.04597; the blocks are those of Prafulla
Dhariwal and Alex Nichol, 2021, Diffusion Models Beat GANs on Image Synthesis, arXiv 2105.05233
(group norm, SiLU, 3 x 3 convolution, twice; scale and shift from the embedding between them).

`patch` folds p x p pixels into channels at the input and unfolds them at the output, which reduces
the number of positions by p^2 at little loss at the high noise levels that classification uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.errors import InputError
from ilk.diffusion.networks.attention import attend
from ilk.diffusion.networks.embedding import ConditionEmbedding

GROUPS = 8  # groups of the group norms; divides every width
MAX_EMBEDDING_WIDTH = 256  # of the embedding of noise level and class


class ResidualBlock(nn.Module):
    """Two convolutions with a shortcut; the second one is initialised to zero."""

    def __init__(self, in_channels: int, out_channels: int, embedding: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(GROUPS, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.film = nn.Linear(embedding, 2 * out_channels)
        self.shortcut = (
            nn.Conv2d(in_channels, out_channels, 1)
            if in_channels != out_channels
            else nn.Identity()
        )
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(cast(Tensor, self.conv2.bias))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Return maps `[m, c, h, w]` of `x` `[n, c, h, w]` and embeddings `[m, width]`.

        m is a multiple of n: row i of `x` has the embeddings from `i m / n`. What no embedding
        enters is computed once per row of `x`.
        """
        scale, shift = self.film(embedding)[:, :, None, None].chunk(2, 1)
        h = self.norm2(self.conv1(functional.silu(self.norm1(x))))
        h = repeat_rows(h, len(embedding)) * (1 + scale) + shift
        shortcut = repeat_rows(self.shortcut(x), len(embedding))
        return cast(Tensor, shortcut + self.conv2(functional.silu(h)))


class Attention(nn.Module):
    """Self-attention over positions; initialised to the identity."""

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
        attended = self.out(attend(self.qkv(tokens), self.heads))
        return cast(Tensor, x + attended.transpose(1, 2).reshape(b, c, h, w))


class UNet(nn.Module):
    """`(x [b, c, size, size], noise [b], classes [b]) -> [b, c, size, size]`.

    With several classes per image, `classes [b, m]`, the result is `[b m, c, size, size]`, the
    classes of an image in consecutive rows; layers before the first one that sees the class are
    computed once per image.

    Args:
        channels: Image (or latent) channels.
        size: Height and width.
        classes: k; class index k is the null class.
        width: Channels at the finest level, a multiple of 8.
        levels: Channels of each level as multiples of `width`; each level halves the resolution.
        blocks: Residual blocks per level.
        patch: Patch size in pixels.
        class_blocks: Number of residual blocks, the last ones, that see the class, >= 1; None for
            all. The others see the null class, so that comparing the classes of an image costs
            little more than one pass.

    Raises:
        InputError: `size` or `width` does not fit.
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
        class_blocks: int | None = None,
    ) -> None:
        super().__init__()
        check(size, len(levels), patch, width)
        self.patch, self.class_blocks, self.null_class = patch, class_blocks, classes
        self.embedding = ConditionEmbedding(classes, min(4 * width, MAX_EMBEDDING_WIDTH))
        in_channels, embedding_width, widths = (
            channels * patch**2,
            min(4 * width, MAX_EMBEDDING_WIDTH),
            [width * m for m in levels],
        )
        self.proj_in = nn.Conv2d(in_channels, width, 3, padding=1)
        self.down, self.up, skips, w = nn.ModuleList(), nn.ModuleList(), [width], width
        for i, level in enumerate(widths):
            if i:
                self.down.append(nn.Conv2d(w, w, 3, stride=2, padding=1))
                skips.append(w)
            for _ in range(blocks):
                self.down.append(ResidualBlock(w, level, embedding_width))
                skips.append(w := level)
        self.middle = nn.ModuleList(
            [
                ResidualBlock(w, w, embedding_width),
                Attention(w),
                ResidualBlock(w, w, embedding_width),
            ]
        )
        for i, level in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                self.up.append(ResidualBlock(w + skips.pop(), level, embedding_width))
                w = level
            if i:
                self.up.append(nn.Conv2d(w, widths[i - 1], 3, padding=1))
                w = widths[i - 1]
        self.norm = nn.GroupNorm(GROUPS, w)
        self.proj_out = nn.Conv2d(w, in_channels, 3, padding=1)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(cast(Tensor, self.proj_out.bias))

    def forward(self, x: Tensor, noise: Tensor, classes: Tensor) -> Tensor:
        embeddings = self._embed(noise, classes)
        x = functional.pixel_unshuffle(x, self.patch)
        h = self.proj_in(x.contiguous(memory_format=torch.channels_last))
        skips = [h]
        for layer in self.down:
            h = layer(h, next(embeddings)) if isinstance(layer, ResidualBlock) else layer(h)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, next(embeddings)) if isinstance(layer, ResidualBlock) else layer(h)
        for layer in self.up:
            if isinstance(layer, ResidualBlock):
                h = layer(torch.cat([h, repeat_rows(skips.pop(), len(h))], 1), next(embeddings))
            else:
                h = layer(functional.interpolate(h, scale_factor=2.0, mode="nearest"))
        return functional.pixel_shuffle(self.proj_out(functional.silu(self.norm(h))), self.patch)

    def _embed(self, noise: Tensor, classes: Tensor) -> Iterator[Tensor]:
        """Yield the embedding of each residual block, in order."""
        n_blocks = sum(isinstance(m, ResidualBlock) for m in self.modules())
        n_without = 0 if self.class_blocks is None else max(0, n_blocks - self.class_blocks)
        if n_without:
            yield from [self.embedding(noise, classes.new_full(noise.shape, self.null_class))] * (
                n_without
            )
        per_image = classes.numel() // max(len(noise), 1)
        e = self.embedding(noise.repeat_interleave(per_image), classes.flatten())
        yield from [e] * (n_blocks - n_without)


def repeat_rows(x: Tensor, n: int) -> Tensor:
    """Repeat each row of `x` `[m, ...]` equally often in succession, so that there are `n`."""
    return x if len(x) == n else x.repeat_interleave(n // len(x), 0)


def check(size: int, levels: int, patch: int, width: int) -> None:
    """Check the size and the width of a U-Net.

    Raises:
        InputError: `size` is not a multiple of `patch * 2 ** (levels - 1)`, or `width` not
            one of 8.
    """
    unit = patch * 2 ** (levels - 1)
    if size % unit:
        nearest = max(unit, round(size / unit) * unit)
        raise InputError(
            f"a U-Net of {levels} levels on patches of {patch} cannot take images of {size} pixels;"
            f" the size must be a multiple of {unit}, such as {nearest}"
        )
    if width < GROUPS or width % GROUPS:
        raise InputError(f"a U-Net of width {width} is not possible: take a multiple of {GROUPS}")
