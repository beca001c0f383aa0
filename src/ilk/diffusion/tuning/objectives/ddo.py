"""Direct discriminative optimization: real images against images that the network itself drew.

Kaiwen Zheng and others, 2025, Direct Discriminative Optimization: Your Likelihood-Based Visual
Generative Model is Secretly a GAN Discriminator, arXiv 2503.01103:

    loss = (-ln sigmoid(b r(x)) - a ln sigmoid(-b r(x'))) / max(a, 1)

with r the log-likelihood ratio to the network from before tuning, x real, and x' drawn by that
network with the label that it is compared under. At the start r is 0 and the loss before the
division is `(1 + a) ln 2`. A pair of rows shares one noise level and one noise. The images drawn
are rounded to 8 bits and go through the same augmentations as the real ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.diffusion.contrast.noised_batch import NoisedBatch, replace_unknown
from ilk.diffusion.contrast.reference import ReferenceObjective, log_sigmoid_loss, scale_beta
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.noise_levels import LogNormal
from ilk.diffusion.generation.sample import Sampler
from ilk.diffusion.pretraining.objective import normalize_batch
from ilk.training.batch import Batch
from ilk.training.objective import Augmentation, TrainingStep, unwrap
from ilk.training.sources import Source

DRAWN_AT_ONCE = 256


class DirectDiscriminativeOptimization(ReferenceObjective):
    """Direct discriminative optimization.

    Args:
        noise, anchor, augmentations: As in `TuningObjective`.
        beta: b, > 0, for images of 3 x 32 x 32; it is scaled to the number of values of others.
        alpha: a, weight of the images drawn, > 0.
        pool: Number of images drawn before the first update, at least 1.
        sampling_steps: Steps of their sampler.

    Raises:
        InputError: A number is out of range.
    """

    default_anchor = 0.0
    default_noise = (0.3, 1.0)  # all that a sampler passes through
    fake_x: Tensor
    fake_y: Tensor

    def __init__(
        self,
        noise: LogNormal,
        anchor: float | None = None,
        augmentations: tuple[Augmentation, ...] = (),
        beta: float = 0.02,
        alpha: float = 1.0,
        pool: int = 1024,
        sampling_steps: int = 18,
    ) -> None:
        super().__init__(noise, anchor, augmentations)
        if not (beta > 0 and alpha > 0 and pool >= 1):
            raise InputError(
                f"beta {beta} and alpha {alpha} must be above 0, and pool {pool} at least 1"
            )
        self.beta, self.alpha, self.pool = beta, alpha, pool
        self.sampling_steps = sampling_steps

    def setup(self, network: nn.Module, data: Source) -> None:
        super().setup(network, data)
        denoiser = unwrap(network, Denoiser)
        device = next(p.device for p in denoiser.parameters())
        k = len(denoiser.classes)
        label = torch.arange(self.pool) % k if k else torch.full((self.pool,), -1)
        training = network.training
        drawn = [
            Sampler(steps=self.sampling_steps, seed=i).draw(denoiser, part, str(device))
            for i, part in enumerate(torch.split(label, DRAWN_AT_ONCE))
        ]
        network.train(training)
        pixels = ((torch.cat(drawn).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        self.register_buffer("fake_x", pixels.to(device))
        self.register_buffer("fake_y", label.to(device))

    def compute_contrast(
        self, network: nn.Module, noised: NoisedBatch, y: Tensor, step: TrainingStep
    ) -> tuple[Tensor, Tensor]:
        """Return the contrast, a scalar, and the errors of the labels, `[n]`."""
        k = len(unwrap(network, Denoiser).classes)
        rows = torch.randint(len(self.fake_y), (len(y),), generator=step.generator, device=y.device)
        fakes = Batch(self.fake_x[rows], self.fake_y[rows])
        for augment in self.augmentations or (normalize_batch,):
            fakes = augment(fakes, step.generator)
        real, errors = self.compute_ratios(network, noised, replace_unknown(y, k))
        drawn, _ = self.compute_ratios(
            network, noised.replace_images(fakes.x), replace_unknown(fakes.y, k)
        )
        beta = scale_beta(self.beta, noised.n_pixels)
        loss = log_sigmoid_loss(beta * real) + self.alpha * log_sigmoid_loss(-beta * drawn)
        return loss.mean() / max(self.alpha, 1.0), errors
