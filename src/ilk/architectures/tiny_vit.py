"""A small vision transformer for images of 28 x 28 or 32 x 32 pixels.

Alexey Dosovitskiy and others, 2021, An Image is Worth 16x16 Words, arXiv 2010.11929, with the mean
of the tokens in place of a class token and a stem of one convolution. Parts have the names of
timm's vision transformers (`blocks`, `attn.qkv`, `attn.proj`, `mlp.fc1`, `mlp.fc2`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

INIT_STD = 0.02


@dataclass(frozen=True)
class TinyViTConfig:
    """The shape of a `TinyViT`.

    Attributes:
        channels: Channels of the images.
        size: Height and width of the images, in pixels; a multiple of `patch`.
        patch: Side of a patch, in pixels.
        width: Width of the tokens; a multiple of `heads`.
        depth: Number of blocks.
        heads: Heads of the attention.
        mlp_ratio: Hidden units of a perceptron, relative to `width`.
    """

    channels: int = 1
    size: int = 28
    patch: int = 7
    width: int = 64
    depth: int = 4
    heads: int = 4
    mlp_ratio: int = 2

    def __post_init__(self) -> None:
        if self.size % self.patch or self.width % self.heads or self.depth < 1:
            raise ValueError(
                f"patch {self.patch} must divide size {self.size}, heads {self.heads} the width "
                f"{self.width}, and depth {self.depth} be at least 1"
            )

    def describe(self) -> dict[str, Any]:
        """Return the settings as JSON; `TinyViTConfig(**settings)` is the same shape again."""
        return asdict(self)


class Attention(nn.Module):
    """Attention of all tokens to all tokens.

    Args:
        width: Width of the tokens, a multiple of `heads`.
        heads: Number of heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[n, t, width]` of tokens `[n, t, width]`."""
        n, t, width = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        heads = functional.scaled_dot_product_attention(q, k, v)
        mixed: Tensor = self.proj(heads.transpose(1, 2).reshape(n, t, width))
        return mixed


class Perceptron(nn.Module):
    """Two linear layers with GELU between them, for each token alone.

    Args:
        width: Width of the tokens.
        hidden: Number of hidden units.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[..., width]` of tokens `[..., width]`."""
        transformed: Tensor = self.fc2(self.act(self.fc1(x)))
        return transformed


class Block(nn.Module):
    """Attention and a perceptron, each after a normalization and around a residual."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width), Perceptron(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[n, t, width]` of tokens `[n, t, width]`."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class TinyViT(nn.Module):
    """From images `[n, channels, size, size]` to logits `[n, classes]`.

    Attributes:
        config: Its shape.
        patch_embed: Convolution from images to tokens on a grid.
        position: Embedding of the positions, `[1, t, width]`.
        blocks: The blocks, in order.
        norm: Normalization before the tokens are averaged.
        head: Linear layer to the logits.

    Args:
        config: Its shape.
        classes: Number of classes.
        seed: Seed of the weights.
    """

    def __init__(self, config: TinyViTConfig, classes: int, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        width, n_tokens = config.width, (config.size // config.patch) ** 2
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.patch_embed = nn.Conv2d(config.channels, width, config.patch, config.patch)
            self.position = nn.Parameter(INIT_STD * torch.randn(1, n_tokens, width))
            self.blocks = nn.Sequential(
                *(Block(width, config.heads, config.mlp_ratio * width) for _ in range(config.depth))
            )
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, classes)

    def embed_patches(self, x: Tensor) -> Tensor:
        """Return tokens `[n, t, width]` of images `[n, channels, size, size]`."""
        tokens: Tensor = self.patch_embed(x).flatten(2).transpose(1, 2) + self.position
        return tokens

    def forward_tokens(self, x: Tensor) -> Tensor:
        """Return the normalized tokens `[n, t, width]` of the last block."""
        tokens: Tensor = self.norm(self.blocks(self.embed_patches(x)))
        return tokens

    def forward_features(self, x: Tensor) -> Tensor:
        """Return features `[n, width]` of images `[n, channels, size, size]`."""
        return self.forward_tokens(x).mean(1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[n, classes]` of images `[n, channels, size, size]`."""
        logits: Tensor = self.head(self.forward_features(x))
        return logits

    def replace_head(self, classes: int, seed: int = 0) -> None:
        """Put a new head for `classes` classes in place of the old one."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(self.config.width, classes).to(self.position.device)
