"""A small convolutional network from pixels to an embedding of unit length."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUPS = 8  # of the normalization, which makes no row depend on the others of its batch


class ConvolutionalEmbedding(nn.Module):
    """Blocks of convolution, group normalization, rectifier and pooling, and a linear layer.

    The four-block network of few-shot learning (Oriol Vinyals and others, 2016, Matching Networks
    for One Shot Learning, arXiv 1606.04080, section 4.1.1), with the normalization by groups.

    Args:
        channels: Channels of an image.
        size: Height and width of an image in pixels.
        width: Width of the embedding.
        filters: Filters of each block; an image is halved after each.
        seed: Seed of the weights.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        width: int = 64,
        filters: tuple[int, ...] = (32, 64, 64),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.shape, self.filters = (channels, *size), filters
        rows, columns = (max(1, side >> len(filters)) for side in size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers: list[nn.Module] = []
            for before, after in zip((channels, *filters), filters, strict=False):
                layers += [
                    nn.Conv2d(before, after, 3, padding=1, bias=False),
                    nn.GroupNorm(GROUPS, after),
                    nn.ReLU(),
                    nn.MaxPool2d(2, ceil_mode=False),
                ]
            self.blocks = nn.Sequential(*layers, nn.AdaptiveAvgPool2d((rows, columns)))
            self.linear = nn.Linear(filters[-1] * rows * columns, width)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return features `[n, f]` of images `[n, c, h, w]` in [0, 1], or of their flat rows."""
        return torch.flatten(self.blocks(x.reshape(-1, *self.shape) - 0.5), 1)

    def project(self, u: Tensor) -> Tensor:
        """Return the embedding `[n, width]` of features `[n, f]`."""
        return functional.normalize(self.linear(u), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the embedding `[n, width]` of images `[n, c, h, w]`, or of their flat rows."""
        return self.project(self.forward_features(x))
