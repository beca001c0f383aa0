"""Synthetic images whose training gradients are those of real images.

Bo Zhao, Konda Reddy Mopuri, Hakan Bilen, 2021, Dataset Condensation with Gradient Matching, arXiv
2006.05929: algorithm 1, with the distance of its appendix. Saehyung Lee and others, 2022, Dataset
Condensation with Contrastive Signals, arXiv 2202.02916: gradients summed over classes.

With g_c and h_c the gradients of the mean cross-entropy of real and synthetic images of class c in
the weights of one network, and D the distance of gradients, the loss is

    class-wise           sum_c D(g_c, h_c)
    summed               D(1/k sum_c g_c, 1/k sum_c h_c)

The first asks each class to agree by itself: a part that all classes share, such as a common
background, weighs as much as what tells them apart. In the sum, what the classes have in common is
cancelled by what the softmax takes back from the others.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from ilk.architectures.instance_norm_net import InstanceNormNet
from ilk.subset_selection.foundations.siamese_augmentation import SiameseAugmentation
from ilk.subset_selection.foundations.synthetic_images import (
    NO_CLIPPING,
    ImageObjective,
    get_images,
)
from ilk.training.batch import Batch
from ilk.training.objective import TrainingStep, augment_objective
from ilk.training.objectives.cross_entropy import CrossEntropy
from ilk.training.optimizers import SGD
from ilk.training.recipe import DeviceConfig, Recipe
from ilk.training.rng import mix_seeds
from ilk.training.schedules import Constant
from ilk.training.trainer import train

EPSILON = 1e-6  # least length of a row in the cosine


def compute_gradient_distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Return the sum over layers and output rows of 1 - cosine, a scalar.

    Args:
        first: Gradient of each layer's weights, `[rows, ...]`; vectors, such as biases, do not
            count.
        second: Another gradient of the same layers.
    """
    distance = first[0].new_zeros(())
    for a, b in zip(first, second, strict=True):
        if a.ndim > 1:
            similarity = functional.cosine_similarity(a.flatten(1), b.flatten(1), 1, EPSILON)
            distance = distance + (1 - similarity).sum()
    return distance


class GradientMatching(ImageObjective):
    """`sum_c D(g_c, h_c)` or `D(sum_c g_c / k, sum_c h_c / k)`, on networks that are trained along.

    A network is drawn anew at the start of each outer loop; between two updates of the images, it
    is trained on them for some updates. Batches hold the classes in turn, equally many of each.

    Args:
        student: The network; its weights are drawn anew.
        is_class_wise: Whether the classes are compared one by one, from the outer loop and the
            place in it, both from 0.
        inner: Updates of the images per network, >= 1.
        network_updates: Updates of the network after each update of the images, >= 0.
        augmentation: Transformation that real and synthetic images of a step share.
        seed: Seed of the networks.
        network_lr: Learning rate of the networks.
    """

    def __init__(
        self,
        student: InstanceNormNet,
        is_class_wise: Callable[[int, int], bool],
        inner: int,
        network_updates: int,
        augmentation: SiameseAugmentation,
        seed: int,
        network_lr: float = 0.01,
    ) -> None:
        super().__init__()
        self.student = student.requires_grad_(False)
        self.is_class_wise, self.inner, self.network_updates = is_class_wise, inner, network_updates
        self.augmentation, self.seed, self.network_lr = augmentation, seed, network_lr

    def before_step(self, network: nn.Module, step: TrainingStep) -> None:
        loop, place = divmod(step.index, self.inner)
        if place == 0:
            generator = torch.Generator(step.generator.device)
            self.student.reset(generator.manual_seed(mix_seeds(self.seed, loop, 11)))

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        images = get_images(network)
        theta = self.augmentation.draw(1, step.generator)
        real = self.augmentation.apply(images.scale.standardize(batch.x), theta)
        made = self.augmentation.apply(images(), theta)
        if not self.is_class_wise(*divmod(step.index, self.inner)):
            return self._compare((real, batch.y), (made, images.y))
        losses = []
        for c in range(images.n_classes):
            of_real, of_made = batch.y == c, images.y == c
            losses.append(
                self._compare((real[of_real], batch.y[of_real]), (made[of_made], images.y[of_made]))
            )
        return torch.stack(losses).sum()

    def _compare(self, real: tuple[Tensor, Tensor], made: tuple[Tensor, Tensor]) -> Tensor:
        """Return the distance of the gradients of two sets of images with their classes."""
        weights = {n: p.detach().requires_grad_() for n, p in self.student.named_parameters()}
        goal = self._compute_gradient(weights, *real, is_constant=True)
        return compute_gradient_distance(
            goal, self._compute_gradient(weights, *made, is_constant=False)
        )

    def _compute_gradient(
        self, weights: dict[str, Tensor], x: Tensor, y: Tensor, *, is_constant: bool
    ) -> tuple[Tensor, ...]:
        logits = functional_call(self.student, weights, (x,))
        loss = functional.cross_entropy(logits, y)
        gradient = torch.autograd.grad(loss, list(weights.values()), create_graph=not is_constant)
        return tuple(g.detach() for g in gradient) if is_constant else gradient

    def after_step(self, network: nn.Module, step: TrainingStep) -> None:
        super().after_step(network, step)
        is_last = (step.index + 1) % self.inner == 0
        if is_last or not self.network_updates:
            return
        images = get_images(network)
        recipe = Recipe(
            self.network_updates,
            min(256, len(images.y)),
            self.network_lr,
            weight_decay=0.0,
            max_grad_norm=NO_CLIPPING,
            ema_width=0.0,
            seed=mix_seeds(self.seed, step.index, 12) % 2**31,
            optimizer=SGD(0.5, nesterov=False),
            schedule=Constant(),
        )
        with torch.enable_grad():
            trained = train(
                copy.deepcopy(self.student).requires_grad_(True),
                Batch(images.x.detach(), images.y),
                augment_objective(CrossEntropy(), self.augmentation),
                recipe,
                DeviceConfig(str(images.x.device)),
            )
        self.student.load_state_dict(trained.state_dict())
