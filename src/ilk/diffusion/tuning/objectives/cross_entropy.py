"""Cross-entropy over class errors: the denoiser is trained as the classifier it is used as.

    loss = mean_i -ln softmax_c(-e_ic / t)_{y_i} + anchor mean_i e_{i y_i}

with `e_ic` the weighted mean squared error of image i under class c; all classes of an image share
its noise level and noise. Each level is a classifier of its own, so that few levels suffice later.
Since `-ln softmax_c(-e_c / t)_y = e_y / t + ln sum_c exp(-e_c / t)`, the cross-entropy is the loss
of pretraining, divided by t, and a term that raises the errors of all classes; without an anchor
they may all grow together.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.errors import InputError
from ilk.diffusion.contrast.noised_batch import NoisedBatch
from ilk.diffusion.contrast.objective import TuningObjective
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.noise_levels import LogNormal
from ilk.diffusion.errors.candidates import draw_candidates
from ilk.training.objective import Augmentation, TrainingStep, unwrap

MAX_CLASSES = 32  # compared for one image at an update


class ClassErrorCrossEntropy(TuningObjective):
    """Cross-entropy over class errors.

    Args:
        noise, anchor, augmentations: As in `TuningObjective`.
        temperature: t, of weighted mean squared errors, > 0.
        max_classes: Classes compared for each image: its label, and others drawn at random for
            each update where there are more.

    Raises:
        InputError: A number is out of range.
    """

    default_anchor = 0.3
    class_blocks = 1

    def __init__(
        self,
        noise: LogNormal,
        anchor: float | None = None,
        augmentations: tuple[Augmentation, ...] = (),
        temperature: float = 0.025,
        max_classes: int = MAX_CLASSES,
    ) -> None:
        super().__init__(noise, anchor, augmentations)
        if not temperature > 0 or max_classes < 2:
            raise InputError(
                f"temperature {temperature} must be above 0 and max_classes {max_classes} at "
                "least 2"
            )
        self.temperature, self.max_classes = temperature, max_classes

    def compute_contrast(
        self, network: nn.Module, noised: NoisedBatch, y: Tensor, step: TrainingStep
    ) -> tuple[Tensor, Tensor]:
        """Return the contrast, a scalar, and the errors of the labels, `[n]`."""
        k = len(unwrap(network, Denoiser).classes)
        candidates = draw_candidates(y, k, self.max_classes, step.generator)
        errors = noised.compute_errors(network, candidates)
        labelled = y >= 0
        logits = -errors[labelled] / self.temperature
        first = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
        loss = functional.cross_entropy(logits, first, reduction="sum")
        return loss / max(1, len(logits)), errors[:, 0]
