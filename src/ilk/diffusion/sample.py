"""Samplers: from noise to images, as plain functions of a network and noise levels.

Tero Karras and others, 2022, Elucidating the Design Space of Diffusion-Based Generative Models,
arXiv 2206.00364: the ladder of noise levels of eq. 5, and algorithm 2, of which algorithm 1 (the
deterministic one) is the case without churn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ilk.diffusion.contract import Denoises
from ilk.errors import InputError


@dataclass(frozen=True)
class Sampler:
    """How to draw.

    Attributes:
        steps: Noise levels, >= 2; the network is called `2 * steps - 1` times an image.
        churn: Fresh noise added on the way; 0 is the deterministic ODE, 40 a common choice.
        rho: How much denser the ladder is at low noise.
        guidance: 1 draws from the class; above 1 pushes away from the class-less answer (Ho and
            Salimans 2022, arXiv 2207.12598), at twice the calls.
        seed: Draws the noise.
    """

    steps: int = 18
    churn: float = 0.0
    rho: float = 7.0
    guidance: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 2 or self.churn < 0 or self.rho <= 0:
            raise InputError(
                f"steps {self.steps}, churn {self.churn}, rho {self.rho} cannot be drawn with; "
                "give at least 2 steps, churn 0 or more and rho above 0"
            )

    def ladder(self, sigmas: tuple[float, float]) -> Tensor:
        """Noise levels `[steps + 1]`, falling, the last one 0 (eq. 5)."""
        low, high = (s ** (1 / self.rho) for s in sigmas)
        share = torch.linspace(0, 1, self.steps, dtype=torch.float64)
        rungs = (high + share * (low - high)) ** self.rho
        return torch.cat([rungs, torch.zeros(1)]).float()

    @torch.no_grad()
    def draw(self, network: Denoises, classes: Tensor, device: str = "cpu") -> Tensor:
        """An image for each class index `[n]` (-1: any), `[n, c, h, w]`, about in [-1, 1]."""
        generator = torch.Generator().manual_seed(self.seed)
        sigmas = self.ladder(network.sigmas)
        n, shape = len(classes), network.shape
        told = network.condition(classes).to(device)
        none = network.condition(torch.full_like(classes, -1)).to(device)

        def clean(x: Tensor, sigma: float) -> Tensor:
            level = torch.full((n,), sigma, device=device)
            out = network.denoise(x, level, told)
            if self.guidance == 1:
                return out
            return out.lerp(network.denoise(x, level, none), 1 - self.guidance)

        x = float(sigmas[0]) * torch.randn(n, *shape, generator=generator).to(device)
        churn = min(self.churn / self.steps, math.sqrt(2) - 1)
        for now, after in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
            noisier = now * (1 + churn)
            if churn:
                fresh = torch.randn(n, *shape, generator=generator).to(device)
                x = x + math.sqrt(noisier**2 - now**2) * fresh
            slope = (x - clean(x, noisier)) / noisier
            guess = x + (after - noisier) * slope
            if after:  # Heun's second look; at 0 there is nothing to look at
                slope = (slope + (guess - clean(guess, after)) / after) / 2
                guess = x + (after - noisier) * slope
            x = guess
        return x


def sheet(images: Tensor, columns: int) -> Tensor:
    """Images `[n, c, h, w]` in [-1, 1] side by side, 8-bit `[h', w', c]`, a white line between."""
    n, c, h, w = images.shape
    rows = -(-n // columns)
    out = torch.full((c, rows * (h + 1) - 1, columns * (w + 1) - 1), 255, dtype=torch.uint8)
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()
    for i, image in enumerate(pixels):
        top, left = i // columns * (h + 1), i % columns * (w + 1)
        out[:, top : top + h, left : left + w] = image
    return out.movedim(0, 2)
