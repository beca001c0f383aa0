"""Optimise a noise on a few labelled images, with a frozen network.

Wang and Chen, 2025, Noise Matters: Optimizing Matching Noise for Diffusion Classifiers,
arXiv 2508.11330; `ilk.diffusion.noise_optimization.matching_loss` is the loss. The noise is not
constrained to be standard normal.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.errors.class_errors import draw_level_noise
from ilk.diffusion.errors.denoising_errors import Measure
from ilk.diffusion.noise_optimization.matching_loss import (
    MatchingLoss,
    check_tuning_data,
    draw_candidates,
)
from ilk.diffusion.noise_optimization.offset import OffsetNetwork, count_levels
from ilk.diffusion.noise_optimization.optimized_noise import (
    OptimizedNoise,
    compute_reference_outputs,
)
from ilk.training.checkpoint import DivergenceError
from ilk.training.rng import draw_batch_rows

COMPONENTS = ("dataset", "offset", "both")


@dataclass(frozen=True)
class NoiseTuningConfig:
    """How a noise is optimised.

    The defaults were chosen on training images of digits; `RELEASED` holds those of the paper's
    code.

    Attributes:
        components: `dataset` (one noise for all images), `offset` (a fixed noise plus an
            image-dependent part) or `both`.
        epochs: Passes over the images; the last one is used.
        batch: Batch size.
        lr: Learning rate of the shared noise (Adam, no schedule, no decay).
        offset_lr: Learning rate of the offset network.
        initial_scale: Scale of the random initial noise; 0 starts from zero.
        n_candidates: Classes per image in training: the true one and random others.
        offset_width: Width of the offset network at its finest level, a multiple of 8.
        seed: Seed of the initial noise, the order of images and the candidates.
        measure: Distance, batch size, precision and device.

    Raises:
        InputError: A value is unknown or out of range.
    """

    components: str = "dataset"
    epochs: int = 20
    batch: int = 8
    lr: float = 3e-3
    offset_lr: float = 1e-3
    initial_scale: float = 0.0
    n_candidates: int = 15
    offset_width: int = 64
    seed: int = 0
    measure: Measure = field(default_factory=lambda: Measure("l1"))

    def __post_init__(self) -> None:
        if self.components not in COMPONENTS:
            raise InputError(
                f"unknown components {self.components!r}; choose {', '.join(COMPONENTS)}"
            )
        if min(self.epochs, self.batch) < 1 or self.n_candidates < 2:
            raise InputError(
                f"{self.epochs} epochs, batches of {self.batch} and {self.n_candidates} candidates "
                "teach nothing; give at least 1, 1 and 2"
            )
        if not (
            0 < self.lr < math.inf and 0 < self.offset_lr < math.inf and self.initial_scale >= 0
        ):
            raise InputError(
                f"learning rates {self.lr} and {self.offset_lr} must be above 0, "
                f"and the scale {self.initial_scale} not below"
            )


PAPER_CONFIG = NoiseTuningConfig("both", lr=1e-2, initial_scale=1.0)


def optimize_noise(
    network: Denoises,
    x: Tensor,
    y: Tensor,
    sigma: float,
    settings: NoiseTuningConfig = NoiseTuningConfig(),
    progress: Progress = silent_progress,
) -> OptimizedNoise:
    """Learn a noise under which labelled images are classified best.

    Args:
        network: A denoiser of at least 2 classes; its weights are not changed.
        x: Images `[n, c, h, w]` in [-1, 1].
        y: Class indices `[n]`; rows of -1 are ignored.
        sigma: Noise level, for instance from `single_noise.select_sigma`.
        settings: Components and hyperparameters.
        progress: Reports updates.

    Raises:
        InputError: The network knows fewer than 2 classes, or images, labels or sigma do not match.
        NoLabels: No image has a label.
        DivergenceError: The optimisation diverged.
    """
    check_tuning_data(network, x, y, sigma)
    x, y = x[y >= 0].float(), y[y >= 0]
    optimizer = NoiseOptimizer(network, float(sigma), settings)
    steps, losses = -(-settings.epochs * len(x) // settings.batch), list[float]()
    with progress("optimising the noise", steps) as advance:
        for step in range(steps):
            rows = draw_batch_rows(step, settings.batch, len(x), settings.seed)
            k, n_candidates, seed = len(network.classes), settings.n_candidates, settings.seed
            losses.append(
                optimizer.update(
                    x[rows], draw_candidates(y[rows], k, n_candidates, seed, step), step
                )
            )
            advance(1)
    last_losses = losses[-max(1, steps // settings.epochs) :]
    return optimizer.to_optimized_noise(
        {"images": len(x), "loss": sum(last_losses) / len(last_losses)}
    )


class NoiseOptimizer:
    """The initial noise, an optional offset network, and Adam on their parameters."""

    def __init__(self, network: Denoises, sigma: float, settings: NoiseTuningConfig) -> None:
        self.matching_loss = MatchingLoss(network, sigma, settings.measure)
        self.settings, self.device = settings, settings.measure.device
        self.noise = settings.initial_scale * draw_level_noise(network, 1, settings.seed)[0].to(
            self.device
        )
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
                f"optimising the noise stopped at update {step + 1}: a gradient is not finite "
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
        noise, offset = self.noise.detach().cpu(), self.offset
        return OptimizedNoise(
            noise,
            offset.cpu().eval().requires_grad_(False) if offset else None,
            sigma,
            measure.distance,
            network.classes,
            compute_reference_outputs(network, noise, sigma, self.device),
            {**metadata, "settings": asdict(self.settings)},
        )
