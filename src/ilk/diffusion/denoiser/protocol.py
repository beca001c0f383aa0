"""The protocol of every diffusion network: given `x + sigma * noise`, it returns `x`.

A clean image `x` is in [-1, 1] (pixels, or latents on their own scale), `noise` is standard normal
and `sigma` is its standard deviation on that scale. Networks with another parameterization are
converted by `ilk.diffusion.denoiser.external`, so that all other code handles this one only.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

UNCONDITIONAL = -1  # class index of an unconditional call; as in `Data.y`, the class is unknown


class Denoises(Protocol):
    """A denoising network.

    Attributes:
        shape: `(channels, height, width)` of its input.
        sigmas: Lowest and highest noise level of training.
        classes: Class names that it can be conditioned on; empty for an unconditional network.
    """

    @property
    def shape(self) -> tuple[int, int, int]: ...
    @property
    def sigmas(self) -> tuple[float, float]: ...
    @property
    def classes(self) -> tuple[str, ...]: ...

    def condition(self, classes: Tensor) -> Tensor:
        """Return the conditions `[b]` or `[b, ...]` of class indices `[b]` int64 (-1:
        unconditional).
        """

    def denoise(self, noisy: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        """Return the expected clean image `[b, c, h, w]` given `noisy` `[b, c, h, w]` and `sigma`
        `[b]`.
        """


def expand_like(values: Tensor, target: Tensor) -> Tensor:
    """Reshape `values` `[b]` to `[b, 1, ...]`, to multiply `target` `[b, ...]`."""
    return values.to(target.device, target.dtype).view(-1, *[1] * (target.dim() - 1))


def normalize_images(x: Tensor) -> Tensor:
    """Scale 8-bit images `[n, c, h, w]` to [-1, 1]; others are only cast to float32."""
    return x.float() / 127.5 - 1 if x.dtype == torch.uint8 else x.float()
