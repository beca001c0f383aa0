"""Convert networks trained to predict the noise, the velocity or the flow to denoisers.

With `x` the clean image, `n` standard normal noise and `sigma` the noise-to-signal ratio:

    epsilon, v   z_t = a x + b n,          a = sqrt(abar_t), b = sqrt(1 - abar_t), sigma = b / a
                 epsilon predicts n,       so x = (z - b n) / a         (Ho et al. 2020, eq. 4)
                 v predicts a n - b x,     so x = a z - b v             (Salimans, Ho 2022, app. D)
    flow         z_t = (1 - t) x + t n,    sigma = t / (1 - t)
                 u predicts n - x,         so x = z - t u               (Lipman et al. 2023)

Jonathan Ho and others, 2020, Denoising Diffusion Probabilistic Models, arXiv 2006.11239. Tim
Salimans and Jonathan Ho, 2022, Progressive Distillation for Fast Sampling of Diffusion Models,
arXiv 2202.00512. Yaron Lipman and others, 2023, Flow Matching for Generative Modeling,
arXiv 2210.02747.

Time steps are looked up by their noise-to-signal ratio, not by position.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.diffusion.denoiser.protocol import expand_like

NetworkFunction = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`network(scaled [b, c, h, w], time [b], condition [b, ...])`, in its own parameterization."""


class Parameterization(Protocol):
    """How a family of networks scales its input, encodes time, and what it predicts."""

    @property
    def sigmas(self) -> tuple[float, float]: ...
    def get_input_scale(self, sigma: Tensor) -> Tensor:
        """Return the factor `[b]` that `x + sigma * noise` is multiplied with."""

    def get_time(self, sigma: Tensor) -> Tensor:
        """Return the time argument `[b]` of the network for `sigma` `[b]`."""

    def predict_clean(self, noisy: Tensor, sigma: Tensor, out: Tensor) -> Tensor:
        """Return the clean image `[b, c, h, w]` given noisy image and output `[b, c, h, w]`."""


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The noise levels of a network with discrete time steps.

    Attributes:
        sigmas: `[T]` float64, increasing, finite.
        integer_steps: Whether the network takes whole steps only; otherwise steps are interpolated
            in ln sigma.
    """

    sigmas: Tensor
    integer_steps: bool = False

    @classmethod
    def from_alphas_bar(cls, alphas_bar: Tensor, integer_steps: bool = False) -> NoiseSchedule:
        """Build the schedule from the cumulative signal variance abar `[T]`, decreasing in (0, 1).

        A last step of pure noise (abar = 0) has no finite sigma and is dropped.

        Raises:
            InputError: abar does not decrease, or leaves (0, 1).
        """
        finite = alphas_bar.double()
        finite = finite[:-1] if len(finite) > 1 and finite[-1] <= 0 else finite
        if len(finite) < 2 or not bool((finite > 0).all() and (finite < 1).all()):
            raise InputError("a noise schedule needs at least 2 values of abar between 0 and 1")
        if not bool((finite.diff() < 0).all()):
            raise InputError("abar of a noise schedule must decrease from step to step")
        return cls(((1 - finite) / finite).sqrt(), integer_steps)

    def find_step(self, sigma: Tensor) -> Tensor:
        """Return the steps `[b]` whose noise-to-signal ratio is `sigma` `[b]`, clipped to the
        ends.
        """
        log_sigmas, log_sigma = self.sigmas.log().to(sigma.device), sigma.double().log()
        right = torch.searchsorted(log_sigmas, log_sigma).clamp(1, len(log_sigmas) - 1)
        left = right - 1
        fraction = ((log_sigma - log_sigmas[left]) / (log_sigmas[right] - log_sigmas[left])).clamp(
            0, 1
        )
        step = left + fraction
        return step.round().long() if self.integer_steps else step.to(sigma.dtype)

    @property
    def sigma_range(self) -> tuple[float, float]:
        """Lowest and highest sigma."""
        return float(self.sigmas[0]), float(self.sigmas[-1])


@dataclass(frozen=True, eq=False)
class Epsilon:
    """A network that predicts the noise."""

    schedule: NoiseSchedule

    @property
    def sigmas(self) -> tuple[float, float]:
        return self.schedule.sigma_range

    def get_input_scale(self, sigma: Tensor) -> Tensor:
        """Return `1 / sqrt(1 + sigma^2)`, `[b]`."""
        return (1 + sigma**2).rsqrt()

    def get_time(self, sigma: Tensor) -> Tensor:
        """Return the steps `[b]` of the schedule."""
        return self.schedule.find_step(sigma)

    def predict_clean(self, noisy: Tensor, sigma: Tensor, out: Tensor) -> Tensor:
        """Return the clean images `[b, c, h, w]` (Ho et al. 2020, eq. 4)."""
        return noisy - expand_like(sigma, noisy) * out


@dataclass(frozen=True, eq=False)
class Velocity(Epsilon):
    """A network that predicts v; scaling and time are those of `Epsilon`."""

    def predict_clean(self, noisy: Tensor, sigma: Tensor, out: Tensor) -> Tensor:
        """Return the clean images `[b, c, h, w]` (Salimans, Ho 2022, app. D)."""
        s = expand_like(sigma, noisy)
        return noisy / (1 + s**2) - s * (1 + s**2).rsqrt() * out


@dataclass(frozen=True)
class Flow:
    """A network that predicts the straight flow from image to noise.

    Attributes:
        time_scale: Value of the time argument at time 1 (1000 in the diffusers library).
        time_range: Lowest and highest time in (0, 1) seen in training.
    """

    time_scale: float = 1000.0
    time_range: tuple[float, float] = (0.001, 0.999)

    @property
    def sigmas(self) -> tuple[float, float]:
        low, high = self.time_range
        return low / (1 - low), high / (1 - high)

    def get_input_scale(self, sigma: Tensor) -> Tensor:
        """Return `1 / (1 + sigma)`, `[b]`."""
        return 1 / (1 + sigma)

    def get_time(self, sigma: Tensor) -> Tensor:
        """Return the scaled times `[b]`."""
        return self.time_scale * sigma / (1 + sigma)

    def predict_clean(self, noisy: Tensor, sigma: Tensor, out: Tensor) -> Tensor:
        """Return the clean images `[b, c, h, w]` (Lipman et al. 2023)."""
        s = expand_like(sigma, noisy)
        return (noisy - s * out) / (1 + s)


@dataclass(frozen=True, eq=False)
class ExternalDenoiser:
    """A network of another library as a `Denoises`.

    Attributes:
        network: The network in its own parameterization. Output channels beyond those of the image
            (a learned variance) are ignored.
        parameterization: How its input and output are converted.
        shape: `(channels, height, width)`.
        classes: k names; may be empty.
        conditions: `[k + 1, ...]`, the condition of each class; the last one is unconditional.

    Raises:
        InputError: The number of conditions is not k + 1.
    """

    network: NetworkFunction
    parameterization: Parameterization
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    conditions: Tensor

    def __post_init__(self) -> None:
        if len(self.conditions) != len(self.classes) + 1:
            raise InputError(
                f"{len(self.conditions)} conditions for {len(self.classes)} classes; give one per "
                "class, and a last one for the unconditional case"
            )

    @property
    def sigmas(self) -> tuple[float, float]:
        return self.parameterization.sigmas

    def condition(self, classes: Tensor) -> Tensor:
        """Return the conditions `[b, ...]` of class indices `[b]` (-1: unconditional)."""
        return self.conditions[classes.to(self.conditions.device)]  # -1 selects the last one

    def denoise(self, noisy: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        """Return the clean images `[b, c, h, w]` given `noisy` `[b, c, h, w]` and `sigma` `[b]`."""
        scaled = noisy * expand_like(self.parameterization.get_input_scale(sigma), noisy)
        out = self.network(scaled, self.parameterization.get_time(sigma), condition)[
            :, : self.shape[0]
        ]
        return self.parameterization.predict_clean(noisy, sigma, out.float())
