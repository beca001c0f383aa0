"""A small convolutional network with WaveBlocks, which scale parts of feature maps in training.

Wenhao Wang and others, 2020, Attentive WaveBlock, arXiv 2006.06525; the attention is that of
Sanghyun Woo and others, 2018, CBAM: Convolutional Block Attention Module, arXiv 1807.06521.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LAYER_CHANNELS, POOL_SIZE = (8, 16, 32), 3  # channels per layer; size of the pooled map


def apply_wave(x: Tensor, ratio: float, factor: float, generator: torch.Generator) -> Tensor:
    """Return `x [n, c, h, w]` times `factor`, except for a random stripe of `round(ratio h)` rows.

    The stripe is the same for the whole batch.
    """
    height = x.shape[2]
    stripe = round(ratio * height)
    start = int(torch.randint(height - stripe + 1, (), generator=generator))
    scale = torch.full((height, 1), factor)
    scale[start : start + stripe] = 1.0
    return x * scale.to(x)


class CBAM(nn.Module):
    """Convolutional block attention: channel weights, then spatial weights, with a residual.

    Args:
        channels: Channels of the feature map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        reduced = max(2, channels // 4)
        self.channel = nn.Sequential(
            nn.Linear(channels, reduced), nn.ReLU(), nn.Linear(reduced, channels)
        )
        self.spatial = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        channel_logits = self.channel(x.mean((2, 3))) + self.channel(x.amax((2, 3)))
        y = x * channel_logits.sigmoid()[:, :, None, None]
        spatial_logits = self.spatial(torch.stack([y.mean(1), y.amax(1)], 1))
        output: Tensor = x + y * spatial_logits.sigmoid()
        return output


class WaveBlockNet(nn.Module):
    """Three convolutions, a WaveBlock after the first and the second, and a linear layer.

    Args:
        channels: Channels of the images.
        classes: Number of classes k.
        ratio: Fraction of the rows of a feature map that a WaveBlock leaves unscaled, in [0, 1].
        factor: Factor of the other rows; 1 is no WaveBlock.
        attention: Whether attention precedes each WaveBlock.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        ratio: float = 0.3,
        factor: float = 1.5,
        attention: bool = True,
    ) -> None:
        super().__init__()
        self.ratio, self.factor = ratio, factor
        widths = (channels, *LAYER_CHANNELS)
        self.layers = nn.ModuleList(
            nn.Conv2d(i, o, k, stride=2, padding=k // 2)
            for i, o, k in zip(widths, LAYER_CHANNELS, (5, 3, 3), strict=False)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(1, o) for o in LAYER_CHANNELS)
        self.attentions = nn.ModuleList(
            CBAM(o) if attention else nn.Identity() for o in LAYER_CHANNELS[:2]
        )
        self.output_layer = nn.Linear(LAYER_CHANNELS[-1] * POOL_SIZE**2, classes)

    def compute_features(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the input of the last layer, `[n, 288]`, for images `[n, c, h, w]`.

        With a generator, WaveBlocks are applied, as in training.
        """
        for index, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            x = functional.relu(norm(layer(x)))
            if index < len(self.attentions):
                x = self.attentions[index](x)
                if generator is not None and self.factor != 1:
                    x = apply_wave(x, self.ratio, self.factor, generator)
        return functional.adaptive_avg_pool2d(x, POOL_SIZE).flatten(1)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return logits `[n, k]` of images `[n, c, h, w]`."""
        logits: Tensor = self.output_layer(self.compute_features(x, generator))
        return logits
