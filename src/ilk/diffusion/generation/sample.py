"""Sample images from a denoising network.

Tero Karras and others, 2022, Elucidating the Design Space of Diffusion-Based Generative Models,
arXiv 2206.00364: the noise levels of eq. 5, and algorithm 2, which without churn is the
deterministic algorithm 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.diffusion.denoiser.protocol import Denoises


@dataclass(frozen=True)
class Sampler:
    """Settings of the sampler.

    Attributes:
        steps: Noise levels, >= 2; the network is called `2 * steps - 1` times per image.
        churn: Amount of fresh noise; 0 is the deterministic ODE, 40 a common choice.
        rho: Larger values concentrate the levels at low noise.
        guidance: 1 samples from the class; larger values apply classifier-free guidance (Ho and
            Salimans 2022, arXiv 2207.12598), at twice the calls.
        seed: Seed of the noise.

    Raises:
        InputError: A value is out of range.
    """

    steps: int = 18
    churn: float = 0.0
    rho: float = 7.0
    guidance: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 2 or self.churn < 0 or self.rho <= 0:
            raise InputError(
                f"steps {self.steps}, churn {self.churn}, rho {self.rho} are invalid; "
                "give at least 2 steps, churn 0 or more and rho above 0"
            )

    def compute_sigmas(self, sigmas: tuple[float, float]) -> Tensor:
        """Return noise levels `[steps + 1]`, decreasing, the last one 0 (eq. 5)."""
        low, high = (s ** (1 / self.rho) for s in sigmas)
        fraction = torch.linspace(0, 1, self.steps, dtype=torch.float64)
        levels = (high + fraction * (low - high)) ** self.rho
        return torch.cat([levels, torch.zeros(1)]).float()

    @torch.no_grad()
    def draw(self, network: Denoises, classes: Tensor, device: str = "cpu") -> Tensor:
        """Sample an image per class index `[n]` (-1: unconditional), `[n, c, h, w]`, roughly in
        [-1, 1].
        """
        generator = torch.Generator().manual_seed(self.seed)
        sigmas = self.compute_sigmas(network.sigmas)
        n, shape = len(classes), network.shape
        conditional = network.condition(classes).to(device)
        unconditional = network.condition(torch.full_like(classes, -1)).to(device)

        def clean(x: Tensor, sigma: float) -> Tensor:
            level = torch.full((n,), sigma, device=device)
            out = network.denoise(x, level, conditional)
            if self.guidance == 1:
                return out
            return out.lerp(network.denoise(x, level, unconditional), 1 - self.guidance)

        x = float(sigmas[0]) * torch.randn(n, *shape, generator=generator).to(device)
        churn = min(self.churn / self.steps, math.sqrt(2) - 1)
        for sigma_now, sigma_next in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
            sigma_hat = sigma_now * (1 + churn)
            if churn:
                noise = torch.randn(n, *shape, generator=generator).to(device)
                x = x + math.sqrt(sigma_hat**2 - sigma_now**2) * noise
            slope = (x - clean(x, sigma_hat)) / sigma_hat
            estimate = x + (sigma_next - sigma_hat) * slope
            if sigma_next:  # second step of Heun's method; not at 0
                slope = (slope + (estimate - clean(estimate, sigma_next)) / sigma_next) / 2
                estimate = x + (sigma_next - sigma_hat) * slope
            x = estimate
        return x


def make_grid(images: Tensor, columns: int) -> Tensor:
    """Arrange images `[n, c, h, w]` in [-1, 1] in a grid, `[h2, w2, c]` uint8, with white lines."""
    n, c, h, w = images.shape
    rows = -(-n // columns)
    out = torch.full((c, rows * (h + 1) - 1, columns * (w + 1) - 1), 255, dtype=torch.uint8)
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()
    for i, image in enumerate(pixels):
        top, left = i // columns * (h + 1), i % columns * (w + 1)
        out[:, top : top + h, left : left + w] = image
    return out.movedim(0, 2)
