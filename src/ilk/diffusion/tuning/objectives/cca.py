"""Condition contrastive alignment: the true label is made more likely, a wrong one less likely.

Huayu Chen and others, 2024, Toward Guidance-Free AR Visual Generation via Condition Contrastive
Alignment, arXiv 2410.09347, eq. 12, stated there for autoregressive models:

    loss = mean (-ln sigmoid(b r(x, y)) - l ln sigmoid(-b r(x, y'))) / max(l, 1)

with r the log-likelihood ratio to the network from before tuning and y' the label of the previous
row of the batch. Where y' is the label itself, or either is hidden, the second term is that of a
true label, with weight 1. Departure: r is a difference of denoising errors
(`ilk.diffusion.contrast.reference`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.diffusion.contrast.noised_batch import NoisedBatch, replace_unknown
from ilk.diffusion.contrast.reference import ReferenceObjective, log_sigmoid_loss, scale_beta
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.noise_levels import LogNormal
from ilk.training.objective import Augmentation, TrainingStep, unwrap


class ConditionContrastiveAlignment(ReferenceObjective):
    """Condition contrastive alignment.

    Args:
        noise, anchor, augmentations: As in `TuningObjective`.
        beta: b, > 0, for images of 3 x 32 x 32; it is scaled to the number of values of others.
        negative_weight: l, >= 0. The authors' program, for autoregressive models, has 50 to 1,000.
        label_dropout: Proportion of labels that are hidden, in [0, 1].

    Raises:
        InputError: A number is out of range.
    """

    default_anchor = 0.0

    def __init__(
        self,
        noise: LogNormal,
        anchor: float | None = None,
        augmentations: tuple[Augmentation, ...] = (),
        beta: float = 0.02,
        negative_weight: float = 1.0,
        label_dropout: float = 0.1,
    ) -> None:
        super().__init__(noise, anchor, augmentations)
        if not (beta > 0 and negative_weight >= 0 and 0 <= label_dropout <= 1):
            raise InputError(
                f"beta {beta} must be above 0, negative_weight {negative_weight} at least 0 and "
                f"label_dropout {label_dropout} from 0 to 1"
            )
        self.beta, self.negative_weight = beta, negative_weight
        self.label_dropout = label_dropout

    def compute_contrast(
        self, network: nn.Module, noised: NoisedBatch, y: Tensor, step: TrainingStep
    ) -> tuple[Tensor, Tensor]:
        """Return the contrast, a scalar, and the errors of the labels, `[n]`."""
        k = len(unwrap(network, Denoiser).classes)
        hidden = torch.rand(len(y), generator=step.generator, device=y.device) < self.label_dropout
        label = replace_unknown(torch.where(hidden, -1, y), k)
        other = label.roll(1)
        ratios, errors = self.compute_ratios(network, noised, torch.stack([label, other], 1))
        scaled = scale_beta(self.beta, noised.n_pixels) * ratios
        is_true = (other == label) | (other == k) | (label == k)
        contrast = torch.where(
            is_true,
            log_sigmoid_loss(scaled[:, 1]),
            self.negative_weight * log_sigmoid_loss(-scaled[:, 1]),
        )
        loss = (log_sigmoid_loss(scaled[:, 0]) + contrast).mean() / max(self.negative_weight, 1.0)
        return loss, errors[:, 0]
