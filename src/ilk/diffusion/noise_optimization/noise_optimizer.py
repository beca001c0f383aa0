"""One step of the optimization of a noise, and the choice among its epochs."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.errors.class_errors import draw_level_noise
from ilk.diffusion.noise_optimization.matching_loss import MatchingLoss, check_tuning_data
from ilk.diffusion.noise_optimization.offset import OffsetNetwork, count_levels
from ilk.diffusion.noise_optimization.optimized_noise import (
    OptimizedNoise,
    compute_reference_outputs,
)
from ilk.diffusion.noise_optimization.single_noise import minimize_score_entropy
from ilk.diffusion.noise_optimization.tuning_config import NoiseTuningConfig
from ilk.training.checkpoint import DivergenceError


class NoiseOptimizer:
    """The initial noise, an optional offset network, and Adam on their parameters."""

    def __init__(
        self,
        network: Denoises,
        sigma: float,
        settings: NoiseTuningConfig,
        initial_noise: Tensor | None = None,
    ) -> None:
        self.matching_loss = MatchingLoss(network, sigma, settings.measure)
        self.settings, self.device = settings, settings.measure.device
        if initial_noise is None:
            initial_noise = settings.initial_scale * draw_level_noise(network, 1, settings.seed)[0]
        self.noise = initial_noise.clone().to(self.device)
        self.offset: OffsetNetwork | None = None
        param_groups: list[dict[str, Any]] = []
        if settings.components != "offset":
            param_groups.append({"params": [self.noise.requires_grad_()], "lr": settings.lr})
        if settings.components != "dataset":
            c, h, w = network.shape
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(settings.seed)
                self.offset = OffsetNetwork(c, count_levels(h, w), settings.offset_width).to(
                    self.device
                )
            param_groups.append(
                {"params": list(self.offset.parameters()), "lr": settings.offset_lr}
            )
        self.optimizer = torch.optim.Adam(param_groups)
        self.parameters: list[Tensor] = [p for group in param_groups for p in group["params"]]

    def update(self, x: Tensor, classes: Tensor, step: int) -> float:
        """Take one step on images `[b, c, h, w]` and classes `[b, m]`; return the loss before it.

        Raises:
            DivergenceError: A gradient is not finite; nothing is changed.
        """
        total_loss, gradients = 0.0, [torch.zeros_like(p) for p in self.parameters]
        chunk_size = max(1, self.settings.measure.batch_size // classes.shape[1])
        for start in range(0, len(x), chunk_size):
            images, candidate_classes = (
                x[start : start + chunk_size].to(self.device),
                classes[start : start + chunk_size],
            )
            noise = (
                self.noise + self.offset(images) if self.offset else self.noise.expand(images.shape)
            )
            loss = (
                self.matching_loss.compute_loss(images, noise, candidate_classes)
                * len(images)
                / len(x)
            )
            for gradient, chunk_gradient in zip(
                gradients, torch.autograd.grad(loss, self.parameters), strict=True
            ):
                gradient += chunk_gradient
            total_loss += float(loss.detach())
        if not all(bool(slope.isfinite().all()) for slope in gradients):
            raise DivergenceError(
                f"optimizing the noise stopped at update {step + 1}: a gradient is not finite "
                f"(loss {total_loss:.4g}); look for images that are not finite, use precision "
                f"float32, or lower the learning rates, such as {self.settings.lr / 3:.2g} and "
                f"{self.settings.offset_lr / 3:.2g}"
            )
        for p, gradient in zip(self.parameters, gradients, strict=True):
            p.grad = gradient
        self.optimizer.step()
        return total_loss

    def to_optimized_noise(self, metadata: dict[str, Any]) -> OptimizedNoise:
        """Return the current noise."""
        network, sigma, measure = (
            self.matching_loss.network,
            self.matching_loss.sigma,
            self.settings.measure,
        )
        noise, offset = self.noise.detach().cpu().clone(), copy.deepcopy(self.offset)
        return OptimizedNoise(
            noise,
            offset.cpu().eval().requires_grad_(False) if offset else None,
            sigma,
            measure.distance,
            network.classes,
            compute_reference_outputs(network, noise, sigma, self.device),
            {**metadata, "settings": asdict(self.settings)},
        )


class BestNoiseTracker:
    """Keeps the noise with the lowest cross-entropy on held-out images, at its best temperature."""

    def __init__(
        self, network: Denoises, validation: tuple[Tensor, Tensor], settings: NoiseTuningConfig
    ) -> None:
        x, y = validation
        check_tuning_data(network, x, y, 1.0)
        self.network, self.measure = network, settings.measure
        self.x, self.y = x[y >= 0].float(), y[y >= 0]
        self.best: tuple[float, OptimizedNoise] | None = None

    def check(self, noise: OptimizedNoise) -> None:
        """Score the held-out images with a noise and keep it if it is the best so far."""
        scores = noise.score_batch(self.network, self.x, self.measure).scores
        loss = float(minimize_score_entropy(scores, self.y))
        if self.best is None or loss < self.best[0]:
            self.best = loss, noise

    def get_best(self) -> OptimizedNoise:
        """Return the best noise; its metadata hold the loss in nats."""
        assert self.best is not None, "the initial noise was checked"
        loss, noise = self.best
        return replace(noise, metadata={**noise.metadata, "validation loss": loss})
