"""Tune one denoiser: a copy of a pretrained network learns on under another objective."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.checkpoint import checkpoint
from ilk.diffusion.checkpoint.model_paths import BASE_KEY
from ilk.diffusion.contrast.objective import TuningObjective
from ilk.diffusion.denoiser.companions import read_entry
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.noise_levels import LogNormal
from ilk.diffusion.pretraining.objective import Shift, flip, normalize_batch
from ilk.diffusion.pretraining.pretrain import (
    STATE,
    check_images,
    check_same_spec,
    describe_images,
    make_checkpoint_writer,
)
from ilk.diffusion.tuning.objectives import get_tuning_objective
from ilk.training.trainer import (
    Augmentation,
    Batch,
    CheckpointConfig,
    DeviceConfig,
    Recipe,
    augment_objective,
    train,
)

MAX_LEVELS = 4  # noise levels of a tuned classifier
CLASS_STD = 1.0  # of new class embeddings around the null class, as `nn.Embedding` begins
MIN_EPOCHS, MIN_UPDATES = 3, 300  # the greater number of updates is the default


def count_tuning_updates(images: int, batch: int) -> int:
    """Return the default number of updates: every image 3 times, and no fewer than 300."""
    return max(MIN_UPDATES, MIN_EPOCHS * images // batch)


@dataclass(frozen=True)
class TuningConfig:
    """Configuration of a tuning run.

    Attributes:
        recipe: Updates, batch size, learning rate, seed.
        objective: Name of a file of `ilk.diffusion.tuning.objectives`, with dashes.
        anchor: Weight of the denoising error of the true class; None is the objective's default.
        options: Further arguments of the objective, such as `{"temperature": 0.05}`.
        noise: Distribution of noise levels; None is the objective's default, relative to the
            deviation of the data.
        class_blocks: Number of residual blocks of a U-Net, the last ones, that see the class; 0 for
            all, None for the objective's default.
        random_flip: Mirror half of the images.
        max_shift: Translate images by up to this number of pixels.
        max_levels: Most noise levels of the tuned classifier, at least 1.
    """

    recipe: Recipe
    objective: str = "cross-entropy"
    anchor: float | None = None
    options: dict[str, Any] = field(default_factory=dict)
    noise: LogNormal | None = None
    class_blocks: int | None = None
    random_flip: bool = False
    max_shift: int = 0
    max_levels: int = MAX_LEVELS

    def make_augmentations(self) -> tuple[Augmentation, ...]:
        """Return the augmentations of the images, the last of which scales them to [-1, 1]."""
        augmentations: list[Augmentation] = [flip] if self.random_flip else []
        if self.max_shift:
            augmentations.append(Shift(self.max_shift))
        return (*augmentations, normalize_batch)

    def get_noise(self, sigma_data: float) -> LogNormal:
        """Return the distribution of noise levels for data of this standard deviation."""
        shift, std = get_tuning_objective(self.objective).default_noise
        return self.noise or LogNormal(math.log(sigma_data) + shift, std)


def tune(
    base: Path,
    data: Batch,
    classes: tuple[str, ...],
    config: TuningConfig,
    folder: Path,
    machine: DeviceConfig = DeviceConfig(),  # noqa: B008  (frozen)
    progress: Progress = silent_progress,
) -> Denoiser:
    """Tune a copy of the network in `base` on `data`, save it to `folder` and return it.

    An unfinished run with the same configuration is resumed; a finished one is returned unchanged.

    Args:
        base: Folder of the pretrained network, which stays as it is.
        data: 8-bit images `[n, c, h, w]` and class indices, -1 where unknown.
        classes: Names; those of the network, unless it was pretrained without labels.
        config: Configuration of the run.
        folder: Output folder.
        machine: Device and precision.
        progress: Reports updates.

    Raises:
        InputError: The images or an option are unsuitable, or `folder` holds another run.
        ArtifactError: `base` holds no network of ilk.
        DivergenceError: Training diverged.
        OutputError: `folder` cannot be written.
    """
    spec, objective = prepare_tuning(base, data, classes, config, folder)
    denoiser = build_start(base, spec, config.recipe.seed)
    interval = max(min(100, config.recipe.steps), config.recipe.steps // 20)
    writer = make_checkpoint_writer(spec, folder, machine.device, with_samples=False)
    watch = CheckpointConfig(folder / STATE, interval, writer, progress)
    augmented = augment_objective(objective, *objective.augmentations)
    averaged = train(denoiser, data, augmented, config.recipe, machine, watch)
    assert isinstance(averaged, Denoiser)
    return averaged.cpu()


def prepare_tuning(
    base: Path, data: Batch, classes: tuple[str, ...], config: TuningConfig, folder: Path
) -> tuple[checkpoint.DenoiserSpec, TuningObjective]:
    """Return how the tuned network is built, and what it is tuned with; nothing is written.

    Arguments and errors are those of `tune`.
    """
    check_images(data, classes, config.max_shift)
    if not bool((data.y >= 0).any()):
        raise InputError("no image has a label, so there is nothing to tune on; label a few")
    spec = make_tuned_spec(base, data, classes, config)
    check_same_spec(spec, folder, "remove that folder")
    objective_class, noise = get_tuning_objective(config.objective), config.get_noise
    augmentations = config.make_augmentations()
    try:
        objective = objective_class(
            noise(spec.sigma_data), config.anchor, augmentations, **config.options
        )
    except TypeError as error:
        raise InputError(f"objective {config.objective!r} cannot be made: {error}") from None
    return spec, objective


def make_tuned_spec(
    base: Path, data: Batch, classes: tuple[str, ...], config: TuningConfig
) -> checkpoint.DenoiserSpec:
    """Return how the tuned network is built: as the one in `base`, but for who sees the class.

    Raises:
        InputError: The images or the classes are not those of the network.
    """
    spec = checkpoint.read_spec(base)
    if tuple(data.x.shape[1:]) != spec.shape:
        actual, expected = (" x ".join(map(str, s)) for s in (data.x.shape[1:], spec.shape))
        raise InputError(f"images of {actual} cannot be tuned on: the network takes {expected}")
    if spec.classes and tuple(classes) != spec.classes:
        raise InputError(f"the classes of the images are not those of the network in {base}")
    blocks = config.class_blocks
    if blocks is None:
        blocks = get_tuning_objective(config.objective).class_blocks
    options = dict(spec.options)
    if blocks and spec.network == "unet":
        options["class_blocks"] = blocks
    recorded = {**asdict(config), "recipe": config.recipe.describe()}
    metadata = {
        "config": json.loads(json.dumps(recorded)),
        **describe_images(data),
        BASE_KEY: read_entry(base, "arrays"),
    }
    noise = config.get_noise(spec.sigma_data)
    return replace(
        spec, classes=tuple(classes), sigmas=noise.sigmas, options=options, metadata=metadata
    )


def build_start(base: Path, spec: checkpoint.DenoiserSpec, seed: int) -> Denoiser:
    """Return the network that tuning starts from: `spec` with the weights in `base`.

    The classes of a network without any begin near its null class.
    """
    start = checkpoint.load(base)
    weights, name = start.state_dict(), "network.embedding.class_embed.weight"
    missing = len(spec.classes) - len(start.classes)
    if missing:
        generator = torch.Generator().manual_seed(seed)
        noise = CLASS_STD * torch.randn(missing, weights[name].shape[1], generator=generator)
        weights[name] = torch.cat([weights[name][-1] + noise, weights[name]])
    with torch.random.fork_rng(devices=[]):
        denoiser = spec.build()
    denoiser.load_state_dict(weights)
    return denoiser
