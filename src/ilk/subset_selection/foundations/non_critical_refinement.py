"""Refine the regions of images that do not decide their class.

Minh-Tuan Tran and others, 2025, Enhancing Dataset Distillation via Non-Critical Region Refinement,
arXiv 2503.18267: with A in [0, 1] the class activation map of an image as it begins,

    x <- x - M eta grad_x( cross-entropy(x, y) + a statistics(x) ),    M = max(0, eps - A)

so that the places that the network looks at stay as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.architectures.class_activation_net import ClassActivationNet
from ilk.subset_selection.foundations.synthetic_images import ImageObjective, get_images
from ilk.training.batch import Batch
from ilk.training.objective import TrainingStep


class NonCriticalRefinement(ImageObjective):
    """`sum_i cross-entropy(x_i, y_i) + a n statistics(x)`, its gradient multiplied by a mask.

    Args:
        teacher: A trained network, whose normalizations keep their statistics.
        threshold: eps, in [0, 1]: places with a map above it are not changed.
        statistics_weight: a, >= 0.
        is_masked: Whether the mask is that of the map; else it is `threshold` everywhere.
    """

    mask: Tensor

    def __init__(
        self,
        teacher: ClassActivationNet,
        threshold: float = 0.5,
        statistics_weight: float = 0.1,
        *,
        is_masked: bool = True,
    ) -> None:
        super().__init__()
        self.teacher = teacher.requires_grad_(False).eval()
        self.threshold, self.statistics_weight = threshold, statistics_weight
        self.is_masked = is_masked
        self.register_buffer("mask", torch.zeros(0))

    def train(self, mode: bool = True) -> NonCriticalRefinement:
        """Set the mode of the objective; the teacher stays in evaluation."""
        super().train(mode)
        self.teacher.eval()
        return self

    def setup(self, network: nn.Module, data: object) -> None:
        """Compute the mask `[n, 1, h, w]` of the images as they begin."""
        images = get_images(network)
        with torch.no_grad():
            activation = self.teacher.to(images.x.device).compute_activation(images(), images.y)
        self.mask = compute_mask(activation, self.threshold, is_masked=self.is_masked)

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        images = get_images(network)
        fixed = images().detach()
        x = fixed + self.mask * (images() - fixed)  # the images, with masked gradients
        loss = functional.cross_entropy(self.teacher(x), images.y, reduction="sum")
        if not self.statistics_weight:
            return loss
        statistics = self.teacher.compute_statistics_loss(x)
        return loss + self.statistics_weight * len(images.y) * statistics


def compute_mask(activation: Tensor, threshold: float, *, is_masked: bool = True) -> Tensor:
    """Return how much each place is changed, `max(0, eps - A)` of `activation [n, 1, h, w]`."""
    if not is_masked:
        return torch.full_like(activation, threshold)
    return (threshold - activation).clamp(min=0)
