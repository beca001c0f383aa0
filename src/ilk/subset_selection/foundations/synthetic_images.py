"""Images as the parameters of a network, so that the trainer learns them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ilk.subset_selection.foundations.pixel_scale import PixelScale
from ilk.training.objective import Objective, TrainingStep, unwrap
from ilk.training.optimizers import SGD, ParameterGroup
from ilk.training.recipe import Recipe
from ilk.training.schedules import Constant

NO_CLIPPING = 1e9  # norm of gradients, which a good step of images may well have


class SyntheticImages(nn.Module):
    """Standardized images, class after class, that are trained.

    Args:
        start: 8-bit images to start from, `[k * m, c, h, w]` uint8: m of each class.
        scale: How they are standardized.
        n_classes: Number of classes, k.
    """

    y: Tensor

    def __init__(self, start: Tensor, scale: PixelScale, n_classes: int) -> None:
        super().__init__()
        self.scale, self.n_classes = scale, n_classes
        self.x = nn.Parameter(scale.standardize(start))
        self.per_class = len(start) // n_classes
        self.register_buffer("y", torch.arange(n_classes).repeat_interleave(self.per_class))

    def forward(self) -> Tensor:
        """Return the standardized images, `[k * m, c, h, w]`."""
        return self.x

    @property
    def pixels(self) -> Tensor:
        """The images in 8 bits, `[k * m, c, h, w]` uint8."""
        return self.scale.to_pixels(self.x)

    @torch.no_grad()
    def project(self) -> None:
        """Move values beyond black and white to these."""
        self.x.copy_(self.scale.clamp(self.x))


class ImageObjective(Objective):
    """A loss of synthetic images: the network trained is `SyntheticImages`.

    Parameters of the objective itself, such as those of a network that looks at the images, are
    state and are not trained by the run.
    """

    supports_weights = False

    def parameter_groups(self) -> list[ParameterGroup]:
        return []

    def after_step(self, network: nn.Module, step: TrainingStep) -> None:
        get_images(network).project()


def get_images(network: Any) -> SyntheticImages:
    """Return the synthetic images inside a network that may be wrapped."""
    return unwrap(network, SyntheticImages)


def make_image_recipe(
    steps: int, batch_size: int, lr: float, seed: int, momentum: float = 0.5
) -> Recipe:
    """Return the recipe under which images are trained; the last images count, not an average."""
    return Recipe(
        steps,
        batch_size,
        lr,
        weight_decay=0.0,
        max_grad_norm=NO_CLIPPING,
        ema_width=0.0,
        seed=seed,
        optimizer=SGD(momentum, nesterov=False),
        schedule=Constant(),
    )
