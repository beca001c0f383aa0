"""Karras preconditioning: inputs and targets of unit variance at every noise level.

Tero Karras and others, 2022, Elucidating the Design Space of Diffusion-Based Generative Models,
arXiv 2206.00364, table 1 (column "Ours"), with s the standard deviation of the data:

    D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)                                   (eq. 7)
    c_skip = s^2 / (sigma^2 + s^2)          c_out = sigma s / sqrt(sigma^2 + s^2)
    c_in = 1 / sqrt(sigma^2 + s^2)          loss weight = 1 / c_out^2

Departure from the paper: c_noise is `ln sigma` (the paper divides it by 4), to which the
frequencies of `ilk.diffusion.networks.embedding` are tuned.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.diffusion.denoiser.protocol import expand_like


class Denoiser(nn.Module):
    """A preconditioned network as a `Denoises`.

    Args:
        network: `(scaled [b, c, h, w], ln sigma [b], classes [b]) -> [b, c, h, w]`; class index k
            is the null class. With classes `[b, m]`, it returns `[b m, c, h, w]`, the classes of
            an image in consecutive rows.
        shape: `(channels, height, width)`.
        classes: k names; may be empty.
        sigma_data: Standard deviation of the training data in [-1, 1], > 0.
        sigmas: Lowest and highest noise level of training.

    Raises:
        InputError: `sigma_data` is not positive.
    """

    def __init__(
        self,
        network: nn.Module,
        shape: tuple[int, int, int],
        classes: tuple[str, ...],
        sigma_data: float = 0.5,
        sigmas: tuple[float, float] = (0.002, 80.0),
    ) -> None:
        super().__init__()
        if not sigma_data > 0:
            raise InputError(
                f"sigma_data {sigma_data} must be above 0; do all pixels have the same value?"
            )
        self.network = network
        self.shape, self.classes, self.sigmas = shape, classes, sigmas
        self.sigma_data = sigma_data

    @property
    def shares_passes(self) -> bool:
        """Whether all classes of an image, `[b, k]`, cost little more than one."""
        return getattr(self.network, "class_blocks", None) is not None

    def condition(self, classes: Tensor) -> Tensor:
        """Return the class indices `[b]` of the network: k (the null class) where `classes` is -1.

        Raises:
            InputError: An index is out of range.
        """
        k = len(self.classes)
        if classes.numel() and not (int(classes.min()) >= -1 and int(classes.max()) < k):
            raise InputError(
                f"class index {int(classes.max())} of a network that knows {k} classes; "
                "indices start at 0, and -1 means unconditional"
            )
        return torch.where(classes < 0, k, classes)

    def forward(self, noisy: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        """Return clean images: `[b, c, h, w]`, or `[b, m, c, h, w]` given classes `[b, m]`."""
        sigma_data, sigmas = self.sigma_data, expand_like(sigma, noisy)
        total_std = (sigmas**2 + sigma_data**2).sqrt()
        out = self.network(noisy / total_std, sigma.log(), condition).float()
        if condition.dim() == 2:
            out = out.unflatten(0, tuple(condition.shape))
            noisy, sigmas, total_std = noisy[:, None], sigmas[:, None], total_std[:, None]
        clean: Tensor = (
            sigma_data / total_std
        ) ** 2 * noisy + sigmas * sigma_data / total_std * out
        return clean

    def denoise(self, noisy: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        """Return the clean images `[b, c, h, w]` given `noisy` `[b, c, h, w]` and `sigma` `[b]`.

        With several classes for each image, `condition` `[b, m]`, they are `[b, m, c, h, w]`.

        Raises:
            InputError: The images have another shape than the network takes.
        """
        if tuple(noisy.shape[1:]) != self.shape:
            actual, expected = (" x ".join(map(str, s)) for s in (noisy.shape[1:], self.shape))
            raise InputError(
                f"images of {actual} cannot be processed: the network takes {expected}"
            )
        clean: Tensor = self(noisy, sigma, condition)
        return clean

    def compute_loss_weight(self, sigma: Tensor) -> Tensor:
        """Return the weights `1 / c_out^2` `[b]` that balance squared errors over noise levels
        `[b]`.
        """
        return (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2
