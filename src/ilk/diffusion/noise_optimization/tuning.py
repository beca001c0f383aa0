"""Optimize a noise on a few labelled images, with a frozen network.

Wang and Chen, 2025, Noise Matters: Optimizing Matching Noise for Diffusion Classifiers,
arXiv 2508.11330; `ilk.diffusion.noise_optimization.matching_loss` is the loss. The noise is not
constrained to be standard normal.
"""

from __future__ import annotations

from torch import Tensor

from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.errors.candidates import draw_candidates
from ilk.diffusion.noise_optimization.matching_loss import check_tuning_data
from ilk.diffusion.noise_optimization.noise_optimizer import BestNoiseTracker, NoiseOptimizer
from ilk.diffusion.noise_optimization.optimized_noise import OptimizedNoise
from ilk.diffusion.noise_optimization.tuning_config import PAPER_CONFIG as PAPER_CONFIG
from ilk.diffusion.noise_optimization.tuning_config import NoiseTuningConfig as NoiseTuningConfig
from ilk.training.rng import draw_batch_rows, make_generator


def optimize_noise(
    network: Denoises,
    x: Tensor,
    y: Tensor,
    sigma: float,
    settings: NoiseTuningConfig = NoiseTuningConfig(),  # noqa: B008  (frozen)
    progress: Progress = silent_progress,
    validation: tuple[Tensor, Tensor] | None = None,
    initial_noise: Tensor | None = None,
) -> OptimizedNoise:
    """Learn a noise under which labelled images are classified best.

    Args:
        network: A denoiser of at least 2 classes; its weights are not changed.
        x: Images `[n, c, h, w]` in [-1, 1].
        y: Class indices `[n]`; rows of -1 are ignored.
        sigma: Noise level, for instance from `single_noise.select_sigma`.
        settings: Components and hyperparameters.
        progress: Reports updates.
        validation: Held-out images and class indices. The epoch with the lowest cross-entropy on
            them is returned; the initial noise counts as epoch 0. None returns the last epoch.
        initial_noise: Initial noise `[c, h, w]`; None draws it from the settings.

    Raises:
        InputError: The network knows fewer than 2 classes, or images, labels or sigma do not match.
        NoLabels: No image has a label.
        DivergenceError: The optimization diverged.
    """
    check_tuning_data(network, x, y, sigma)
    x, y = x[y >= 0].float(), y[y >= 0]
    optimizer = NoiseOptimizer(network, float(sigma), settings, initial_noise)
    per_epoch = -(-len(x) // settings.batch)
    steps, losses = -(-settings.epochs * len(x) // settings.batch), list[float]()
    tracker = None if validation is None else BestNoiseTracker(network, validation, settings)
    if tracker:
        tracker.check(optimizer.to_optimized_noise({"images": len(x), "epoch": 0}))
    with progress("optimizing noise", steps) as advance:
        for step in range(steps):
            rows = draw_batch_rows(step, settings.batch, len(x), settings.seed)
            generator = make_generator(settings.seed, step, "cpu")
            classes = draw_candidates(
                y[rows], len(network.classes), settings.n_candidates, generator
            )
            losses.append(optimizer.update(x[rows], classes, step))
            advance(1)
            is_due = (step + 1) % (settings.check_every * per_epoch) == 0 or step + 1 == steps
            if tracker and is_due:
                metadata = {"images": len(x), "epoch": (step + 1) / per_epoch}
                tracker.check(optimizer.to_optimized_noise(metadata))
    if tracker:
        return tracker.get_best()
    last_losses = losses[-max(1, steps // settings.epochs) :]
    return optimizer.to_optimized_noise(
        {"images": len(x), "loss": sum(last_losses) / len(last_losses)}
    )
