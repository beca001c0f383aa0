"""Karras preconditioning: whatever the noise, the network sees and makes numbers of size one.

Tero Karras and others, 2022, Elucidating the Design Space of Diffusion-Based Generative Models,
arXiv 2206.00364, table 1 (column "Ours"), with s the spread of the data:

    D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)                                   (eq. 7)
    c_skip = s^2 / (sigma^2 + s^2)          c_out = sigma s / sqrt(sigma^2 + s^2)
    c_in = 1 / sqrt(sigma^2 + s^2)          weight of a squared error = 1 / c_out^2

The network is told `ln sigma` (the paper divides it by 4; our waves are tuned to it as it is).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ilk.diffusion.contract import column
from ilk.errors import InputError


class Denoiser(nn.Module):
    """A network of ours as a `Denoises`.

    Args:
        network: `(scaled [b, c, h, w], ln sigma [b], classes [b]) -> [b, c, h, w]`; class index k
            means "not told".
        shape: `(channels, height, width)`.
        classes: k names; may be empty.
        spread: Standard deviation of the training data in [-1, 1], > 0.
        sigmas: Lowest and highest noise level of training.
    """

    def __init__(
        self,
        network: nn.Module,
        shape: tuple[int, int, int],
        classes: tuple[str, ...],
        spread: float = 0.5,
        sigmas: tuple[float, float] = (0.002, 80.0),
    ) -> None:
        super().__init__()
        if not spread > 0:
            raise InputError(f"the data have a spread of {spread}: they are all the same colour")
        self.network = network
        self.shape, self.classes, self.sigmas = shape, classes, sigmas
        self.spread = spread

    def condition(self, classes: Tensor) -> Tensor:
        """Class indices `[b]` as the network knows them: k where they are -1 (not told).

        Raises:
            InputError: An index is of no class.
        """
        k = len(self.classes)
        if classes.numel() and not (int(classes.min()) >= -1 and int(classes.max()) < k):
            raise InputError(
                f"class index {int(classes.max())} of a network that knows {k} classes; "
                "indices run from 0, and -1 means not told"
            )
        return torch.where(classes < 0, k, classes)

    def forward(self, noisy: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        s, level = self.spread, column(sigma, noisy)
        total = (level**2 + s**2).sqrt()
        out = self.network(noisy / total, sigma.log(), condition).float()
        clean: Tensor = (s / total) ** 2 * noisy + level * s / total * out
        return clean

    def denoise(self, noisy: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        if tuple(noisy.shape[1:]) != self.shape:
            told, takes = (" x ".join(map(str, s)) for s in (noisy.shape[1:], self.shape))
            raise InputError(f"images of {told} cannot go in: the network takes {takes}")
        made: Tensor = self(noisy, sigma, condition)
        return made

    def weight(self, sigma: Tensor) -> Tensor:
        """What makes a squared error at `sigma` count as one at any other: `1 / c_out^2`."""
        return (sigma**2 + self.spread**2) / (sigma * self.spread) ** 2
