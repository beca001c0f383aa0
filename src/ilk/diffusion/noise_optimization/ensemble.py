"""One or more single noises, at levels of their own, whose scores are averaged.

Averaging standardised errors over a few noises at different levels costs as many network calls per
class; `ilk.diffusion.noise_optimization.selection` chooses the members on held-out images.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.errors.denoising_errors import Measure
from ilk.diffusion.noise_optimization.optimized_noise import OptimizedNoise
from ilk.diffusion.result import ClassificationResult


@dataclass(frozen=True, eq=False)
class NoiseEnsemble:
    """Single noises of one network.

    Attributes:
        members: The noises, at least one.
        metadata: How they were chosen.

    Raises:
        InputError: There is none.
    """

    members: tuple[OptimizedNoise, ...]
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.members:
            raise InputError("an ensemble of noises needs at least one")

    def score_batch(
        self,
        network: Denoises,
        x: Tensor,
        measure: Measure = Measure(),  # noqa: B008  (frozen)
        progress: Progress = silent_progress,
    ) -> ClassificationResult:
        """Return scores `[n, k]`: the mean over members of minus the standardised errors.

        Arguments and errors are those of `OptimizedNoise.score_batch`.
        """
        results = [m.score_batch(network, x, measure, progress) for m in self.members]
        scores = torch.stack([r.scores for r in results]).mean(0)
        return ClassificationResult(scores, torch.stack([r.n_calls for r in results]).sum(0))

    def check_network(self, network: Denoises) -> None:
        """Check that every member fits a network.

        Raises:
            InputError: The network has another shape or other classes.
        """
        for member in self.members:
            member.check_network(network)
