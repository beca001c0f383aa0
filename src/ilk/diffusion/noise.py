"""Which noise levels are trained on, and which are judged at."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ilk.errors import InputError

REACH = 3.0  # standard deviations of ln sigma that training can meet


@dataclass(frozen=True)
class LogNormal:
    """`ln sigma ~ N(mean, std)`, cut at three standard deviations (Karras et al. 2022, table 1).

    Attributes:
        mean: Of ln sigma. The paper's -1.2 is for pictures; classes are told apart higher up.
        std: Of ln sigma, > 0.
    """

    mean: float = 0.0
    std: float = 1.2

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and 0 < self.std < math.inf):
            raise InputError(
                f"ln sigma with mean {self.mean} and deviation {self.std} is no distribution; "
                "give finite numbers, the deviation above 0"
            )

    @property
    def sigmas(self) -> tuple[float, float]:
        """Lowest and highest level that can be drawn."""
        low, high = self.mean - REACH * self.std, self.mean + REACH * self.std
        return math.exp(low), math.exp(high)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` levels `[n]`, one from each n-th part of the distribution, in random order.

        Spreading them evenly makes the mean loss of a batch much less noisy (Kingma et al. 2021,
        Variational Diffusion Models, arXiv 2107.00630, app. I.1) and leaves its expectation alone.
        """
        order = torch.randperm(n, generator=generator, device=generator.device)
        share = (order + torch.rand(n, generator=generator, device=generator.device)) / n
        z = math.sqrt(2) * torch.erfinv(2 * share - 1)
        return (self.mean + self.std * z.clamp(-REACH, REACH)).exp()


def grid(sigmas: tuple[float, float], levels: int) -> Tensor:
    """`levels` noise levels `[levels]`, evenly spaced in ln sigma over `sigmas`, middles of bins.

    Raises:
        InputError: `levels` is below 1 or the range is empty.
    """
    low, high = sigmas
    if levels < 1 or not 0 < low < high:
        raise InputError(f"{levels} noise levels between {low} and {high}: there are none")
    middles = (torch.arange(levels, dtype=torch.float64) + 0.5) / levels
    return (math.log(low) + middles * math.log(high / low)).exp().float()
