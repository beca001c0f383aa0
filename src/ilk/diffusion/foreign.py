"""Networks that were trained to predict the noise, the velocity or the flow, made to denoise.

With `x` the clean image, `n` standard normal noise and `sigma` their ratio, the three families see

    epsilon, v   z_t = a x + b n,          a = sqrt(abar_t), b = sqrt(1 - abar_t), sigma = b / a
                 epsilon predicts n,       so x = (z - b n) / a         (Ho et al. 2020, eq. 4)
                 v predicts a n - b x,     so x = a z - b v             (Salimans, Ho 2022, app. D)
    flow         z_t = (1 - t) x + t n,    sigma = t / (1 - t)
                 u predicts n - x,         so x = z - t u               (Lipman et al. 2023)

Jonathan Ho and others, 2020, Denoising Diffusion Probabilistic Models, arXiv 2006.11239. Tim
Salimans and Jonathan Ho, 2022, Progressive Distillation for Fast Sampling of Diffusion Models,
arXiv 2202.00512. Yaron Lipman and others, 2023, Flow Matching for Generative Modeling,
arXiv 2210.02747.

A step is found by its ratio of signal to noise, never by its place in a list of other length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ilk.diffusion.contract import column
from ilk.errors import InputError

Network = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`network(scaled noisy [b, c, h, w], time [b], condition [b, ...])`, in its own convention."""


class Convention(Protocol):
    """How a family scales its input, tells time, and what its output means."""

    @property
    def sigmas(self) -> tuple[float, float]: ...
    def scale(self, sigma: Tensor) -> Tensor:
        """What `x + sigma * noise` is multiplied with before it goes in."""

    def time(self, sigma: Tensor) -> Tensor:
        """What the network is told in place of `sigma` `[b]`."""

    def clean(self, noisy: Tensor, sigma: Tensor, out: Tensor) -> Tensor:
        """The clean image, from `x + sigma * noise` and the network's output."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """The noise levels of a discrete network, by step.

    Attributes:
        sigmas: `[T]` float64, rising, finite.
        whole: The network takes whole steps only; else steps between are interpolated in ln sigma.
    """

    sigmas: Tensor
    whole: bool = False

    @classmethod
    def from_alphas_bar(cls, alphas_bar: Tensor, whole: bool = False) -> Schedule:
        """From the cumulative signal share abar `[T]`, falling, in (0, 1).

        A last step of pure noise (abar 0) has no finite sigma and is left out.

        Raises:
            InputError: abar does not fall, or leaves (0, 1).
        """
        kept = alphas_bar.double()
        kept = kept[:-1] if len(kept) > 1 and kept[-1] <= 0 else kept
        if len(kept) < 2 or not bool((kept > 0).all() and (kept < 1).all()):
            raise InputError("a noise schedule needs at least 2 values of abar between 0 and 1")
        if not bool((kept.diff() < 0).all()):
            raise InputError("a noise schedule's abar must fall from step to step; this one rises")
        return cls(((1 - kept) / kept).sqrt(), whole)

    def step(self, sigma: Tensor) -> Tensor:
        """The step, `[b]`, whose ratio of signal to noise is that of `sigma`, ends included."""
        known, asked = self.sigmas.log().to(sigma.device), sigma.double().log()
        right = torch.searchsorted(known, asked).clamp(1, len(known) - 1)
        left = right - 1
        share = ((asked - known[left]) / (known[right] - known[left])).clamp(0, 1)
        at = left + share
        return at.round().long() if self.whole else at.to(sigma.dtype)

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest sigma."""
        return float(self.sigmas[0]), float(self.sigmas[-1])


@dataclass(frozen=True, eq=False)
class Epsilon:
    """Trained to predict the noise."""

    schedule: Schedule

    @property
    def sigmas(self) -> tuple[float, float]:
        return self.schedule.ends

    def scale(self, sigma: Tensor) -> Tensor:
        return (1 + sigma**2).rsqrt()

    def time(self, sigma: Tensor) -> Tensor:
        return self.schedule.step(sigma)

    def clean(self, noisy: Tensor, sigma: Tensor, out: Tensor) -> Tensor:
        return noisy - column(sigma, noisy) * out


@dataclass(frozen=True, eq=False)
class Velocity(Epsilon):
    """Trained to predict v; scales and tells time as `Epsilon` does."""

    def clean(self, noisy: Tensor, sigma: Tensor, out: Tensor) -> Tensor:
        s = column(sigma, noisy)
        return noisy / (1 + s**2) - s * (1 + s**2).rsqrt() * out


@dataclass(frozen=True)
class Flow:
    """Trained to predict the straight flow from image to noise.

    Attributes:
        steps: Time 1, as the network is told it (1000 in the diffusers library).
        ends: Lowest and highest time in (0, 1) that it was trained on.
    """

    steps: float = 1000.0
    ends: tuple[float, float] = (0.001, 0.999)

    @property
    def sigmas(self) -> tuple[float, float]:
        low, high = self.ends
        return low / (1 - low), high / (1 - high)

    def scale(self, sigma: Tensor) -> Tensor:
        return 1 / (1 + sigma)

    def time(self, sigma: Tensor) -> Tensor:
        return self.steps * sigma / (1 + sigma)

    def clean(self, noisy: Tensor, sigma: Tensor, out: Tensor) -> Tensor:
        s = column(sigma, noisy)
        return (noisy - s * out) / (1 + s)


@dataclass(frozen=True, eq=False)
class Converted:
    """A foreign network that speaks `Denoises`.

    Attributes:
        network: In its own convention. Output channels past the image's (a learned variance) are
            left aside.
        convention: Its family.
        shape: `(channels, height, width)`.
        classes: Names, k of them; may be empty.
        conditions: `[k + 1, ...]` what the network is told for each class, and last for none.
    """

    network: Network
    convention: Convention
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    conditions: Tensor

    def __post_init__(self) -> None:
        if len(self.conditions) != len(self.classes) + 1:
            raise InputError(
                f"{len(self.conditions)} conditions for {len(self.classes)} classes; give one "
                "each, and a last one for a class not told"
            )

    @property
    def sigmas(self) -> tuple[float, float]:
        return self.convention.sigmas

    def condition(self, classes: Tensor) -> Tensor:
        return self.conditions[classes.to(self.conditions.device)]  # -1 is the last: not told

    def denoise(self, noisy: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        scaled = noisy * column(self.convention.scale(sigma), noisy)
        out = self.network(scaled, self.convention.time(sigma), condition)[:, : self.shape[0]]
        return self.convention.clean(noisy, sigma, out.float())
