"""What methods that match gradients share: their settings, and how images are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ilk.subset_selection.foundations.gradient_matching import GradientMatching
from ilk.subset_selection.foundations.problem import (
    CondensationTags,
    Condensed,
    Problem,
    Run,
    make_seed,
    optimize_images,
)
from ilk.subset_selection.foundations.synthetic_images import make_image_recipe


@dataclass(frozen=True)
class GradientMethod(CondensationTags):
    """Images whose gradients are those of real images; a method says which gradients are matched.

    Attributes:
        outer: Networks, >= 1.
        inner: Updates of the images per network, >= 1.
        network_updates: Updates of a network between two of the images, >= 0.
        batch: Real images per class and update, >= 1.
        lr: Learning rate of the images, in standard deviations of the pixels, > 0.
    """

    synthetic: ClassVar[bool] = True

    outer: int = 20
    inner: int = 10
    network_updates: int = 5
    batch: int = 20
    lr: float = 0.1

    def is_class_wise(self, loop: int, place: int) -> bool:
        """Whether classes are matched one by one at a place in an outer loop, both from 0."""
        raise NotImplementedError

    def condense(self, problem: Problem, run: Run) -> Condensed:
        """Return the images that were trained."""
        seed = make_seed(problem, 31)
        objective = GradientMatching(
            problem.make_network(seed),
            self.is_class_wise,
            self.inner,
            self.network_updates,
            problem.augmentation,
            seed,
        )
        recipe = make_image_recipe(
            self.outer * self.inner, self.batch * problem.n_classes, self.lr, seed
        )
        return optimize_images(problem, objective, recipe, run, type(self).__name__)
