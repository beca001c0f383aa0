"""DCC: the gradient summed over classes is matched, after a warm-up that matches each class.

Saehyung Lee, Sanghyuk Chun, Sangwon Jung, Sangdoo Yun, Sungroh Yoon, 2022, Dataset Condensation
with Contrastive Signals, arXiv 2202.02916, section 4; see `foundations.gradient_matching`.
The published code takes the sum from outer loop 250 of 1,000 on, and before that in the later part
(from the tenth update) of each loop.
"""

from __future__ import annotations

from dataclasses import dataclass

from ilk.subset_selection.foundations.gradient_method import GradientMethod


@dataclass(frozen=True)
class DCC(GradientMethod):
    """Images whose gradient, summed over classes, is that of real images.

    Attributes:
        outer: Networks, >= 1.
        inner: Updates of the images per network, >= 1.
        network_updates: Updates of a network between two of the images, >= 0.
        batch: Real images per class and update, >= 1.
        lr: Learning rate of the images, in standard deviations of the pixels, > 0.
        warmup: Part of the outer loops in which classes are matched one by one, in [0, 1].
        contrast_from: Place in a loop from which the sum is matched during the warm-up as well.
    """

    warmup: float = 0.25
    contrast_from: int = 10

    def is_class_wise(self, loop: int, place: int) -> bool:
        """Whether classes are matched one by one at a place in an outer loop, both from 0."""
        return loop < self.warmup * self.outer and place < self.contrast_from
