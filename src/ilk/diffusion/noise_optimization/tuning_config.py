"""Settings of the optimization of a noise."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ilk.core.errors import InputError
from ilk.diffusion.errors.denoising_errors import Measure

COMPONENTS = ("dataset", "offset", "both")


@dataclass(frozen=True)
class NoiseTuningConfig:
    """How a noise is optimized.

    The defaults were chosen on training images of digits; `PAPER_CONFIG` holds those of the
    paper's code.

    Attributes:
        components: `dataset` (one noise for all images), `offset` (a fixed noise plus an
            image-dependent part) or `both`.
        epochs: Passes over the images; the last one is used, or the best of those checked on
            held-out images.
        batch: Batch size.
        lr: Learning rate of the shared noise (Adam, no schedule, no decay).
        offset_lr: Learning rate of the offset network.
        initial_scale: Scale of the random initial noise; 0 starts from zero.
        n_candidates: Classes per image in training: the true one and random others.
        offset_width: Width of the offset network at its finest level, a multiple of 8.
        seed: Seed of the initial noise, the order of images and the candidates.
        measure: Distance, batch size, precision and device.
        check_every: Epochs between checks on held-out images, if there are any.

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
    check_every: int = 2

    def __post_init__(self) -> None:
        if self.components not in COMPONENTS:
            raise InputError(
                f"unknown components {self.components!r}; choose {', '.join(COMPONENTS)}"
            )
        if min(self.epochs, self.batch, self.check_every) < 1 or self.n_candidates < 2:
            raise InputError(
                f"{self.epochs} epochs checked every {self.check_every}, batches of {self.batch} "
                f"and {self.n_candidates} candidates teach nothing; give at least 1, 1, 1 and 2"
            )
        if not (
            0 < self.lr < math.inf and 0 < self.offset_lr < math.inf and self.initial_scale >= 0
        ):
            raise InputError(
                f"learning rates {self.lr} and {self.offset_lr} must be above 0, "
                f"and the scale {self.initial_scale} not below"
            )


PAPER_CONFIG = NoiseTuningConfig("both", lr=1e-2, initial_scale=1.0)
