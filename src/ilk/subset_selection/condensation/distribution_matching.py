"""Distribution matching: images whose mean features are those of real images in many networks.

Bo Zhao, Hakan Bilen, 2023, Dataset Condensation with Distribution Matching, arXiv 2110.04181,
equation 4:

    sum_c | mean_i psi(T(x_i)) - mean_j psi(T(s_j)) |^2

over real images x_i and synthetic images s_j of class c, random networks psi and transformations T
that both sides share. A network is drawn anew for each update, and none is trained. Departure:
images begin as herded ones, whose mean already is near that of the class. (Networks that
were trained for a short while on the real images, as in arXiv 2307.09742, gained nothing here.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.architectures.instance_norm_net import InstanceNormNet
from ilk.subset_selection.foundations.herd import herd_classes
from ilk.subset_selection.foundations.problem import (
    CondensationTags,
    Condensed,
    Problem,
    Run,
    make_seed,
    optimize_images,
    take_rows,
)
from ilk.subset_selection.foundations.siamese_augmentation import SiameseAugmentation
from ilk.subset_selection.foundations.synthetic_images import (
    ImageObjective,
    get_images,
    make_image_recipe,
)
from ilk.training.batch import Batch
from ilk.training.objective import TrainingStep
from ilk.training.rng import mix_seeds


@dataclass(frozen=True)
class DistributionMatching(CondensationTags):
    """Images whose mean feature is, class by class, that of real images.

    Attributes:
        updates: Updates of the images, >= 1.
        batch: Real images per class and update, >= 1.
        lr: Learning rate of the images, > 0.
        herded: Whether images begin as those of `Herding`; else as random ones.
    """

    synthetic: ClassVar[bool] = True
    default_candidate: ClassVar[bool] = True

    updates: int = 200
    batch: int = 20
    lr: float = 0.8
    herded: bool = True

    def condense(self, problem: Problem, run: Run) -> Condensed:
        """Return the images that were trained."""
        seed = make_seed(problem, 31)
        objective = MeanMatching(problem.make_network(seed), problem.augmentation, seed)
        recipe = make_image_recipe(self.updates, self.batch * problem.n_classes, self.lr, seed)
        start = take_rows(problem, herd_classes(problem)) if self.herded else None
        return optimize_images(problem, objective, recipe, run, "DistributionMatching", start)


class MeanMatching(ImageObjective):
    """`m / 2 sum_c |mean_i psi(x_i) - mean_j psi(s_j)|^2`, with m the synthetic images per class.

    The factor m makes the step of an image the same however many there are.

    Args:
        student: A network whose weights are drawn anew for each update.
        augmentation: Transformation that real and synthetic images of a step share.
        seed: Seed of the weights.
    """

    def __init__(
        self,
        student: InstanceNormNet,
        augmentation: SiameseAugmentation,
        seed: int,
    ) -> None:
        super().__init__()
        self.student = student.requires_grad_(False)
        self.augmentation, self.seed = augmentation, seed

    def before_step(self, network: nn.Module, step: TrainingStep) -> None:
        generator = torch.Generator(step.generator.device)
        self.student.reset(generator.manual_seed(mix_seeds(self.seed, step.index, 11)))

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        images = get_images(network)
        k = images.n_classes
        theta = self.augmentation.draw(1, step.generator)
        with torch.no_grad():
            real = self.augmentation.apply(images.scale.standardize(batch.x), theta)
            goal = compute_class_means(self.student.forward_features(real), batch.y, k)
        features = self.student.forward_features(self.augmentation.apply(images(), theta))
        means = compute_class_means(features, images.y, k)
        return images.per_class * ((goal - means) ** 2).sum() / 2


def compute_class_means(x: Tensor, y: Tensor, k: int) -> Tensor:
    """Return the mean of the rows `x [n, f]` of each class `y [n]`, `[k, f]`."""
    membership = functional.one_hot(y, k).to(x.dtype)
    return (membership / membership.sum(0).clamp(min=1)).T @ x
