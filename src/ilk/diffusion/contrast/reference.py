"""Log-likelihood ratios of a denoiser to its frozen copy from before tuning."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.diffusion.contrast.noised_batch import NoisedBatch
from ilk.diffusion.contrast.objective import TuningObjective
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.training.objective import unwrap
from ilk.training.sources import Source

PAPER_PIXELS = 3 * 32 * 32  # values of an image for which the papers state their scale


class ReferenceObjective(TuningObjective):
    """A tuning objective that compares the network with itself from before tuning.

    With one noise for both, `r = |x|(e_ref - e)`, the difference of the weighted squared errors
    summed over the values of an image, is a one-sample bound on the log-likelihood ratio.
    """

    reference: nn.Module

    def setup(self, network: nn.Module, data: Source) -> None:
        denoiser = unwrap(network, Denoiser)
        self.reference = copy.deepcopy(denoiser).requires_grad_(False).eval()

    def compute_ratios(
        self, network: nn.Module, noised: NoisedBatch, classes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return r, and the weighted mean errors of the network, shaped as `classes` `[n, ...]`."""
        errors = noised.compute_errors(network, classes)
        with torch.no_grad():
            reference_errors = noised.compute_errors(self.reference, classes)
        return noised.n_pixels * (reference_errors - errors), errors

    def train(self, mode: bool = True) -> ReferenceObjective:
        """Switch the mode of the objective; the reference stays in evaluation mode."""
        super().train(mode)
        if "reference" in self._modules:
            self.reference.eval()
        return self


def scale_beta(beta: float, n_pixels: int) -> float:
    """Return `beta`, stated for images of 3 x 32 x 32, for images of `n_pixels` values."""
    return beta * PAPER_PIXELS / n_pixels


def log_sigmoid_loss(ratio: Tensor) -> Tensor:
    """Return `-ln sigmoid(ratio)` `[n, ...]` float32."""
    return -functional.logsigmoid(ratio.float())
