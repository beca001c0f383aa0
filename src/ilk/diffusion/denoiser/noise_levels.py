"""Noise levels of training and of evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ilk.core.errors import InputError

MAX_DEVIATIONS = 3.0  # truncation, in standard deviations of ln sigma


@dataclass(frozen=True)
class LogNormal:
    """`ln sigma ~ N(mean, std)`, truncated at three standard deviations (Karras et al. 2022, table
    1).

    Attributes:
        mean: Mean of ln sigma. The paper uses -1.2 for image quality; classes are distinguished at
            higher noise.
        std: Standard deviation of ln sigma, > 0.

    Raises:
        InputError: A number is not finite or `std` is not positive.
    """

    mean: float = 0.0
    std: float = 1.2

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and 0 < self.std < math.inf):
            raise InputError(
                f"ln sigma with mean {self.mean} and deviation {self.std} is not a distribution; "
                "give finite numbers, the deviation above 0"
            )

    @property
    def sigmas(self) -> tuple[float, float]:
        """Lowest and highest level that can be drawn."""
        low, high = self.mean - MAX_DEVIATIONS * self.std, self.mean + MAX_DEVIATIONS * self.std
        return math.exp(low), math.exp(high)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw `n` levels `[n]`, one from each n-quantile of the distribution, in random order.

        Stratification reduces the variance of a batch's mean loss without changing its expectation
        (Kingma et al. 2021, Variational Diffusion Models, arXiv 2107.00630, app. I.1).
        """
        order = torch.randperm(n, generator=generator, device=generator.device)
        quantiles = (order + torch.rand(n, generator=generator, device=generator.device)) / n
        z = math.sqrt(2) * torch.erfinv(2 * quantiles - 1)
        return (self.mean + self.std * z.clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)).exp()


def make_log_grid(sigma_range: tuple[float, float], n_levels: int) -> Tensor:
    """Return noise levels `[n_levels]`: the midpoints of equal bins of ln sigma over `sigma_range`.

    Raises:
        InputError: `n_levels` is below 1 or the range is empty.
    """
    low, high = sigma_range
    if n_levels < 1 or not 0 < low < high:
        raise InputError(f"{n_levels} noise levels between {low} and {high}: there are none")
    midpoints = (torch.arange(n_levels, dtype=torch.float64) + 0.5) / n_levels
    return (math.log(low) + midpoints * math.log(high / low)).exp().float()
