"""The base of the objectives that tune a denoiser.

    loss = contrast + anchor mean weight(sigma) |D(x + sigma n; sigma, y) - x|^2

The contrast teaches the network to tell classes apart (or real images from drawn ones); the anchor
is the loss of pretraining at the true class. It keeps the network a denoiser, at the price of some
of the contrast.
"""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.diffusion.contrast.noised_batch import NoisedBatch
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.noise_levels import LogNormal
from ilk.training.batch import Batch
from ilk.training.objective import Augmentation, Objective, TrainingStep, unwrap


class TuningObjective(Objective):
    """A loss that tunes a denoiser.

    Args:
        noise: Distribution of the noise levels.
        anchor: Weight of the denoising error of the true class, >= 0.
        augmentations: What the images of a batch go through; images that an objective draws itself
            go through the same.

    Attributes:
        default_anchor: The anchor that `ilk tune` uses.
        default_noise: Mean of ln(sigma / deviation of the data), and its standard deviation.
        class_blocks: Number of blocks that see the class after tuning by default, as in `UNet`;
            None leaves it as it was.

    Raises:
        InputError: `anchor` is negative, or not finite.
    """

    supports_weights = False
    default_anchor: ClassVar[float]
    default_noise: ClassVar[tuple[float, float]] = (-0.45, 0.7)
    class_blocks: ClassVar[int | None] = None

    def __init__(
        self,
        noise: LogNormal,
        anchor: float | None = None,
        augmentations: tuple[Augmentation, ...] = (),
    ) -> None:
        super().__init__()
        self.noise = noise
        self.anchor = self.default_anchor if anchor is None else anchor
        self.augmentations = augmentations
        if not 0 <= self.anchor < math.inf:
            raise InputError(f"anchor {self.anchor} must be at least 0 and finite")

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        noised = NoisedBatch.draw(unwrap(network, Denoiser), self.noise, batch.x, step.generator)
        contrast, errors = self.compute_contrast(network, noised, batch.y, step)
        return contrast + self.anchor * errors.mean()

    def compute_contrast(
        self, network: nn.Module, noised: NoisedBatch, y: Tensor, step: TrainingStep
    ) -> tuple[Tensor, Tensor]:
        """Return the contrast, a scalar, and the errors of the true classes, `[n]`.

        Args:
            network: The denoiser, possibly wrapped.
            noised: The images of the batch with noise.
            y: Their labels, -1 where unknown, `[n]`.
            step: The update.
        """
        raise NotImplementedError
