"""The contract of a method that condenses a set of images, and how synthetic images are trained.

A method is a frozen dataclass of `CondensationTags` in `condensation/`, found by its file:

    condense(problem, run) -> Condensed

Methods with `synthetic = True` train images with `optimize_images`; the others name rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ilk.architectures.instance_norm_net import InstanceNormNet
from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.subset_selection.foundations.pixel_scale import PixelScale
from ilk.subset_selection.foundations.siamese_augmentation import SiameseAugmentation
from ilk.subset_selection.foundations.synthetic_images import ImageObjective, SyntheticImages
from ilk.training.batch import Batch
from ilk.training.checkpoint import DivergenceError
from ilk.training.recipe import CheckpointConfig, DeviceConfig, Recipe
from ilk.training.rng import mix_seeds
from ilk.training.samplers import BalancedSampler
from ilk.training.sources import SampledSource
from ilk.training.trainer import train

Rows = NDArray[np.int64]
CHECKPOINT_INTERVAL = 25  # updates between saved states


@dataclass(frozen=True, eq=False)
class Problem:
    """What is condensed.

    Attributes:
        x: Images, `[n, c, h, w]` uint8.
        y: Their classes, `[n]`, 0 to k - 1, each at least once.
        n_classes: Number of classes, k >= 2.
        per_class: Images per class to make or choose, >= 1.
        features: Features of an encoder, `[n, d]`.
        seed: Seed.
        flip: Whether a mirrored image is of the same class.
        width: Filters of each block of the small network.
    """

    x: Tensor
    y: Tensor
    n_classes: int
    per_class: int
    features: NDArray[np.float32]
    seed: int = 0
    flip: bool = False
    width: int = 32
    scale: PixelScale = field(init=False)

    def __post_init__(self) -> None:
        if self.n_classes < 2:
            raise InputError(
                "the images are of one class, and a classifier needs two; add images of another "
                "class"
            )
        if self.per_class < 1:
            raise InputError(f"per_class (--per-class) is {self.per_class}; it must be at least 1")
        object.__setattr__(self, "scale", PixelScale.fit(self.x))

    @property
    def augmentation(self) -> SiameseAugmentation:
        """The transformations under which an image keeps its class."""
        return SiameseAugmentation(flip=self.flip)

    def make_network(self, seed: int) -> InstanceNormNet:
        """Return the small network, with weights of its own per seed."""
        _, channels, height, wide = self.x.shape
        return InstanceNormNet(channels, (height, wide), self.n_classes, self.width, seed=seed)

    def list_rows(self, c: int) -> Rows:
        """Return the rows of class c, in order."""
        return torch.nonzero(self.y == c)[:, 0].numpy()

    def check_enough(self) -> None:
        """Raise InputError where a class has fewer images than are to be chosen."""
        counts = torch.bincount(self.y, minlength=self.n_classes)
        least = int(counts.min())
        if least < self.per_class:
            raise InputError(
                f"a class has {least} training images, and {self.per_class} of each are to be "
                f"chosen; give --per-class {least} or less, or a method that makes images, such as "
                "DistributionMatching"
            )

    def draw_rows(self) -> Rows:
        """Return `per_class` random rows of each class; a small class repeats its rows."""
        rng = np.random.default_rng([self.seed, 21])
        rows = []
        for c in range(self.n_classes):
            order = rng.permutation(self.list_rows(c))
            rows.append(np.resize(order, self.per_class))
        return np.concatenate(rows)


@dataclass(frozen=True, eq=False)
class Run:
    """How a method runs.

    Attributes:
        folder: Where states of trainings are saved; None saves nothing.
        device_config: Where to train.
        progress: Reports each training.
        notes: Sentences about what happened; methods append.
    """

    folder: Path | None = None
    device_config: DeviceConfig = field(default_factory=DeviceConfig)
    progress: Progress = silent_progress
    notes: list[str] = field(default_factory=list)

    def checkpoint(self, name: str) -> CheckpointConfig:
        """Return where the training called `name` saves its state."""
        file = f".ilk.{re.sub(r'[^A-Za-z0-9]+', '-', name)}.safetensors"
        path = None if self.folder is None else self.folder / file

        def progress(_what: str, total: int) -> object:
            return self.progress(name, total)

        return CheckpointConfig(path, CHECKPOINT_INTERVAL, None, progress)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Condensed:
    """`per_class` images of each class, class after class.

    Attributes:
        x: `[k * per_class, c, h, w]` uint8.
        y: Their classes, `[k * per_class]`.
        rows: The rows that they are, or that synthetic images began as, `[k * per_class]`; -1
            where there is none.
        synthetic: Whether they were made.
    """

    x: Tensor
    y: Tensor
    rows: Rows
    synthetic: bool


class CondensationTags:
    """What is special about a method; the defaults are those of a method that chooses images."""

    synthetic: ClassVar[bool] = False
    """Whether it makes images."""
    default_candidate: ClassVar[bool] = False
    """Whether `ilk condense` tries it by default."""

    def condense(self, problem: Problem, run: Run) -> Condensed:
        """Return `per_class` images of each class.

        Raises:
            InputError: A class has fewer images than are to be chosen.
        """
        raise NotImplementedError


def take_rows(problem: Problem, rows: Rows) -> Condensed:
    """Return chosen images: `rows [k * per_class]`, class after class."""
    chosen = torch.from_numpy(rows)
    return Condensed(problem.x[chosen], problem.y[chosen], rows, False)


def optimize_images(
    problem: Problem,
    objective: ImageObjective,
    recipe: Recipe,
    run: Run,
    name: str,
    start: Condensed | None = None,
) -> Condensed:
    """Train images under an objective; a run that diverges keeps its last good state.

    Args:
        problem: What is condensed; batches hold its classes in turn.
        objective: The loss of the images.
        recipe: Hyperparameters; the batch size is rounded up to a multiple of the classes.
        run: Where and how.
        name: Name of the training.
        start: Images to start from; None draws real images at random.
    """
    begin = start or take_rows(problem, problem.draw_rows())
    network = SyntheticImages(begin.x, problem.scale, problem.n_classes)
    k = problem.n_classes
    recipe = replace(recipe, batch_size=k * max(1, -(-recipe.batch_size // k)))
    source = SampledSource(Batch(problem.x, problem.y), BalancedSampler(problem.y))
    good: list[Tensor] = [network.pixels.cpu()]

    def keep(_step: int, _loss: float, average: nn.Module) -> None:
        if isinstance(average, SyntheticImages) and bool(torch.isfinite(average.x).all()):
            good[0] = average.pixels.cpu()

    checkpoint = replace(run.checkpoint(name), on_checkpoint=keep)
    try:
        trained = train(network, source, objective, recipe, run.device_config, checkpoint)
        pixels = trained.pixels.cpu()
    except DivergenceError as error:
        pixels = good[0]
        run.notes.append(f"{name} ended early, and its last good images are taken: {error}")
    return Condensed(pixels, begin.y.clone(), begin.rows, True)


def make_seed(problem: Problem, number: int) -> int:
    """Return a seed of the problem's for one purpose, in [0, 2^31)."""
    return mix_seeds(problem.seed, number) % 2**31
