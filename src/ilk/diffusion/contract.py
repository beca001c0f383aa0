"""What every diffusion network promises: given `x + sigma * noise`, it returns `x`.

A clean image `x` is in [-1, 1] (pixels, or latents on their own scale), `noise` is standard normal
and `sigma` is its standard deviation on that scale. Networks trained on another convention are
converted at the door (`ilk.diffusion.foreign`), so that nothing behind it branches.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

UNKNOWN = -1  # a class index that stands for "not told", as in `Data.y`


class Denoises(Protocol):
    """A network that takes noise away.

    Attributes:
        shape: `(channels, height, width)` of what it takes.
        sigmas: Lowest and highest noise level that it was trained on.
        classes: Names of the classes it can be told; empty when it takes none.
    """

    @property
    def shape(self) -> tuple[int, int, int]: ...
    @property
    def sigmas(self) -> tuple[float, float]: ...
    @property
    def classes(self) -> tuple[str, ...]: ...

    def condition(self, classes: Tensor) -> Tensor:
        """What tells the network class indices `[b]` int64 (-1: not told): `[b]` or `[b, ...]`."""

    def denoise(self, noisy: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        """The expected clean image `[b, c, h, w]` behind `noisy` `[b, c, h, w]`, `sigma` `[b]`."""


def column(values: Tensor, like: Tensor) -> Tensor:
    """`values` `[b]` as `[b, 1, …]`, to multiply `like` `[b, …]`."""
    return values.to(like.device, like.dtype).view(-1, *[1] * (like.dim() - 1))


def unit(x: Tensor) -> Tensor:
    """8-bit images in [-1, 1]; others as they are."""
    return x.float() / 127.5 - 1 if x.dtype == torch.uint8 else x.float()
