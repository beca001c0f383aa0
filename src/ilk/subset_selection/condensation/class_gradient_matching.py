"""Dataset condensation: the gradient of each class is matched by itself.

Bo Zhao, Konda Reddy Mopuri, Hakan Bilen, 2021, Dataset Condensation with Gradient Matching, arXiv
2006.05929, algorithm 1; with the transformations of arXiv 2102.08259. See
`ilk.subset_selection.foundations.gradient_matching`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ilk.subset_selection.foundations.gradient_method import GradientMethod


@dataclass(frozen=True)
class ClassGradientMatching(GradientMethod):
    """Images whose gradients are, class by class, those of real images.

    Attributes:
        outer: Networks, >= 1.
        inner: Updates of the images per network, >= 1.
        network_updates: Updates of a network between two of the images, >= 0.
        batch: Real images per class and update, >= 1.
        lr: Learning rate of the images, in standard deviations of the pixels, > 0.
    """

    def is_class_wise(self, loop: int, place: int) -> bool:
        """Whether classes are matched one by one: always."""
        return True
