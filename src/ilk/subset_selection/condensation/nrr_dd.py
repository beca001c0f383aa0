"""NRR-DD: crops of what a network looks at, whose other regions are refined.

Minh-Tuan Tran and others, 2025, Enhancing Dataset Distillation via Non-Critical Region Refinement,
arXiv 2503.18267; see `foundations.non_critical_refinement` for the refinement and
`ilk.training.objectives.distance_based_transfer` for the two numbers per image that take the place
of a soft label. Of each class, the crops of which the network is least sure begin, `tiles` of them
in one image. Departure: one crop per image by default, since images of 28 or 32 pixels do not bear
tiles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ilk.architectures.class_activation_net import ClassActivationNet
from ilk.core.errors import InputError
from ilk.subset_selection.foundations.non_critical_refinement import NonCriticalRefinement
from ilk.subset_selection.foundations.problem import (
    CondensationTags,
    Condensed,
    Problem,
    Run,
    make_seed,
    optimize_images,
)
from ilk.subset_selection.foundations.synthetic_images import make_image_recipe
from ilk.training.batch import Batch
from ilk.training.objective import augment_objective
from ilk.training.objectives.cross_entropy import CrossEntropy
from ilk.training.optimizers import AdamW
from ilk.training.recipe import Recipe
from ilk.training.trainer import train

CRITICAL = 0.5  # of the activation map, from which a place is part of the crop


@dataclass(frozen=True)
class NRRDD(CondensationTags):
    """Crops of the least certain images, refined where the network does not look.

    Attributes:
        candidates: Random images per image that is made, of which the least certain is taken, >= 1.
        sure: Whether the crops of which the network is most sure are taken instead.
        least_crop: Least side of a crop as a part of that of the image, in (0, 1]; with 1 images
            stay whole.
        tiles: Crops in one image: 1 or 4.
        threshold: Value of the activation map up to which a place is refined, in [0, 1].
        updates: Updates of the refinement, >= 0.
        lr: Learning rate of the refinement, > 0.
        statistics_weight: Weight of the statistics of the normalizations, >= 0.
        refine: `non-critical`, `all` places alike, or `none`.
        training_updates: Updates of the network that looks, >= 1.
    """

    synthetic: ClassVar[bool] = True

    candidates: int = 5
    sure: bool = False
    least_crop: float = 1.0
    tiles: int = 1
    threshold: float = 0.5
    updates: int = 50
    lr: float = 0.1
    statistics_weight: float = 0.1
    refine: str = "non-critical"
    training_updates: int = 200

    def __post_init__(self) -> None:
        if self.tiles not in (1, 4) or self.refine not in ("non-critical", "all", "none"):
            raise InputError(
                f"NRRDD has tiles {self.tiles} and refine {self.refine!r}; tiles are 1 or 4, and "
                "refine is non-critical, all or none"
            )

    def condense(self, problem: Problem, run: Run) -> Condensed:
        """Return the images that were cropped and refined."""
        return self.refine_crops(problem, run, train_teacher(problem, run, self.training_updates))

    def refine_crops(self, problem: Problem, run: Run, teacher: ClassActivationNet) -> Condensed:
        """Return the images that a trained network crops and refines."""
        start = self.crop(problem, teacher)
        if self.refine == "none" or not self.updates:
            return start
        objective = NonCriticalRefinement(
            teacher,
            self.threshold,
            self.statistics_weight,
            is_masked=self.refine == "non-critical",
        )
        recipe = make_image_recipe(
            self.updates, problem.n_classes, self.lr, make_seed(problem, 31), momentum=0.0
        )
        return optimize_images(problem, objective, recipe, run, "NRRDD", start)

    @torch.no_grad()
    def crop(self, problem: Problem, teacher: ClassActivationNet) -> Condensed:
        """Return the crops of which the network is least sure, `per_class` images of each class."""
        wanted, parts, rows = problem.per_class * self.tiles, [], []
        rng = np.random.default_rng([problem.seed, 23])
        for c in range(problem.n_classes):
            of_class = problem.list_rows(c)
            drawn = rng.permutation(of_class)[: wanted * self.candidates]
            drawn = np.resize(drawn, max(len(drawn), wanted))
            x = problem.scale.standardize(problem.x[torch.from_numpy(drawn)])
            y = torch.full((len(drawn),), c)
            crops = crop_critical(x, teacher.compute_activation(x, y), self.least_crop)
            sureness = teacher(crops).log_softmax(1)[:, c]
            least = torch.argsort(sureness, descending=self.sure)[:wanted]
            parts.append(tile(crops[least], self.tiles))
            rows.append(drawn[least[:: self.tiles].numpy()])
        pixels = problem.scale.to_pixels(torch.cat(parts))
        labels = torch.arange(problem.n_classes).repeat_interleave(problem.per_class)
        return Condensed(pixels, labels, np.concatenate(rows), True)


def train_teacher(problem: Problem, run: Run, updates: int) -> ClassActivationNet:
    """Return a network with class activation maps that was trained on the images."""
    seed = make_seed(problem, 32)
    recipe = Recipe(updates, 64, 5e-3, warmup=10, ema_width=0.0, seed=seed, optimizer=AdamW())
    network = train(
        ClassActivationNet(problem.x.shape[1], problem.n_classes, problem.width, seed),
        Batch(problem.x, problem.y),
        augment_objective(CrossEntropy(), problem.scale.standardize_batch, problem.augmentation),
        recipe,
        run.device_config,
        replace(run.checkpoint("NRRDD network"), interval=100),
    )
    return network.cpu().eval()


def crop_critical(x: Tensor, activation: Tensor, least: float) -> Tensor:
    """Return the part of each image where its map is high, enlarged to the image.

    The part has the shape of the image, holds all places with a map of `CRITICAL` or more where
    they fit, and is no smaller than `least` of the image.

    Args:
        x: Images, `[n, c, h, w]`.
        activation: Maps, `[n, 1, h, w]`, in [0, 1].
        least: Least side of the part, relative to the image, in (0, 1].
    """
    height, width = x.shape[-2:]
    crops = []
    for image, values in zip(x, activation[:, 0], strict=True):
        rows = torch.nonzero((values >= CRITICAL).any(1))[:, 0]
        columns = torch.nonzero((values >= CRITICAL).any(0))[:, 0]
        if not len(rows):  # the map is flat
            crops.append(image)
            continue
        top, left = int(rows[0]), int(columns[0])
        part = max((int(rows[-1]) - top + 1) / height, (int(columns[-1]) - left + 1) / width, least)
        h, w = min(height, round(part * height)), min(width, round(part * width))
        middle = (top + int(rows[-1]) + 1) / 2, (left + int(columns[-1]) + 1) / 2
        y0 = min(max(0, round(middle[0] - h / 2)), height - h)
        x0 = min(max(0, round(middle[1] - w / 2)), width - w)
        cut = image[None, :, y0 : y0 + h, x0 : x0 + w]
        crops.append(_resize(cut, (height, width))[0])
    return torch.stack(crops)


def tile(x: Tensor, count: int) -> Tensor:
    """Return images `[n * count, c, h, w]` as `[n, c, h, w]`, of which each shows `count`."""
    if count == 1:
        return x
    n, c, height, width = x.shape
    half = _resize(x, (height // 2, width // 2)).view(n // count, count, c, height // 2, width // 2)
    top, bottom = torch.cat([half[:, 0], half[:, 1]], 3), torch.cat([half[:, 2], half[:, 3]], 3)
    return _resize(torch.cat([top, bottom], 2), (height, width))


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
