"""Small networks that translate images into another style, and that judge the translation.

The generator is residual blocks between a strided convolution and an upsampling, as in Justin
Johnson, Alexandre Alahi, Li Fei-Fei, 2016, arXiv 1603.08155; the discriminator judges patches, as
in Phillip Isola and others, 2017, Image-to-Image Translation with Conditional Adversarial Networks,
arXiv 1611.07004.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS, N_BLOCKS = 16, 2
COPY_GAIN = 6.0  # of the image in the logits of the output


class ResidualBlock(nn.Module):
    """Two convolutions with instance normalization, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1),
            nn.GroupNorm(4, channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1),
            nn.GroupNorm(4, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)  # type: ignore[no-any-return]


class ImageTranslator(nn.Module):
    """Images in [0, 1] to images in [0, 1] of the same height and width.

    A channel of noise decides what the image leaves open; the output begins near the mean of the
    channels, so that training starts from a copy.

    Args:
        shape: Channels, height and width of the images; rows that are flat get this shape.
        channels: Channels of the output; None keeps them.
    """

    def __init__(self, shape: tuple[int, int, int], channels: int | None = None) -> None:
        super().__init__()
        self.shape, self.channels = shape, shape[0] if channels is None else channels
        self.down = nn.Conv2d(shape[0] + 1, CHANNELS, 5, 2, 2)
        self.blocks = nn.Sequential(*(ResidualBlock(CHANNELS) for _ in range(N_BLOCKS)))
        self.last = nn.Conv2d(CHANNELS + shape[0] + 1, CHANNELS, 3, 1, 1)
        self.output = nn.Conv2d(CHANNELS, self.channels, 3, 1, 1)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return images of the other style, `[n, c', h, w]`, for `[n, c, h, w]` or flat rows.

        Args:
            x: Images or rows.
            generator: Source of the noise; None takes none, which is 0.
        """
        x = x.reshape(-1, *self.shape)
        noise = torch.zeros_like(x[:, :1])
        if generator is not None:
            noise = torch.randn(noise.shape, generator=generator, device=x.device)
        joined = torch.cat([x, noise], 1)
        z = self.blocks(functional.relu(self.down(joined)))
        z = functional.interpolate(z, size=x.shape[2:], mode="nearest")
        z = functional.relu(self.last(torch.cat([z, joined], 1)))
        copy = COPY_GAIN * (x.mean(1, keepdim=True) - 0.5)
        return (self.output(z) + copy).sigmoid()  # type: ignore[no-any-return]


class PatchDiscriminator(nn.Module):
    """How real each patch of an image looks, without bounds.

    Args:
        channels: Channels of the images.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, CHANNELS, 4, 2, 2),
            nn.LeakyReLU(0.2),
            nn.Conv2d(CHANNELS, 2 * CHANNELS, 4, 2, 2),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * CHANNELS, 1, 3, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return scores `[n, rows, columns]` of images `[n, c, h, w]`."""
        return self.layers(x)[:, 0]  # type: ignore[no-any-return]
