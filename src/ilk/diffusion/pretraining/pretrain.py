"""Pretrain a denoiser on images, resuming after any interruption."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.checkpoint import checkpoint
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.noise_levels import LogNormal
from ilk.diffusion.generation.images import encode_drawn, pixels_to_pil
from ilk.diffusion.generation.sample import Sampler, make_grid
from ilk.diffusion.pretraining.objective import (
    DenoisingLoss,
    Shift,
    compute_pixel_std,
    flip,
    normalize_batch,
)
from ilk.training import distributed
from ilk.training.checkpoint import MUTABLE_FIELDS
from ilk.training.trainer import (
    Augmentation,
    Batch,
    CheckpointConfig,
    DeviceConfig,
    Recipe,
    augment_objective,
    train,
)

OTHER_FOLDER = "another folder"
STATE, SAMPLES, LOG = "state.safetensors", "samples.png", "log.jsonl"
ROWS, COLUMNS = 4, 10  # of the grid of samples


@dataclass(frozen=True)
class PretrainConfig:
    """Configuration of a pretraining run.

    Attributes:
        recipe: Steps, batch size, learning rate, seed.
        network: `unet` or `dit`.
        options: Options of the network, such as `{"width": 48}`.
        noise: Distribution of training noise levels.
        label_dropout: Proportion of labels replaced by the null class.
        random_flip: Mirror half of the images. Unsuitable for digits, letters and other classes
            with a handedness.
        max_shift: Translate images by up to this number of pixels.
        checkpoint_every: Updates between checkpoints and samples; 0 is a twentieth of all updates,
            at least 100.
    """

    recipe: Recipe
    network: str = "unet"
    options: dict[str, Any] = field(default_factory=dict)
    noise: LogNormal = field(default_factory=LogNormal)
    label_dropout: float = 0.1
    random_flip: bool = False
    max_shift: int = 0
    checkpoint_every: int = 0

    def make_augmentations(self) -> list[Augmentation]:
        """Return the augmentations applied before noise is added."""
        augmentations: list[Augmentation] = [flip] if self.random_flip else []
        if self.max_shift:
            augmentations.append(Shift(self.max_shift))
        return [*augmentations, normalize_batch]


def pretrain(
    data: Batch,
    classes: tuple[str, ...],
    config: PretrainConfig,
    folder: Path,
    machine: DeviceConfig = DeviceConfig(),  # noqa: B008  (frozen)
    progress: Progress = silent_progress,
) -> Denoiser:
    """Train a denoiser on `data`, save it to `folder` and return it.

    The folder can be loaded after the first checkpoint. An unfinished run with the same
    configuration is resumed; a finished one is returned unchanged.

    Args:
        data: 8-bit images `[n, c, h, w]` and class indices, -1 where unknown.
        classes: Names; empty for an unconditional network.
        config: Configuration of the run.
        folder: Output folder.
        machine: Device and precision.
        progress: Reports updates.

    Raises:
        InputError: The images are unsuitable, or `folder` holds a run with another configuration.
        DivergenceError: Training diverged.
        OutputError: `folder` cannot be written.
    """
    spec = make_spec(data, classes, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.recipe.seed)
        denoiser = spec.build()
    check_same_spec(spec, folder)
    objective = augment_objective(
        DenoisingLoss(denoiser, config.noise, config.label_dropout), *config.make_augmentations()
    )
    every = config.checkpoint_every or max(min(100, config.recipe.steps), config.recipe.steps // 20)
    watch = CheckpointConfig(
        folder / STATE, every, make_checkpoint_writer(spec, folder, machine.device), progress
    )
    averaged = train(denoiser, data, objective, config.recipe, machine, watch)
    assert isinstance(averaged, Denoiser)
    return averaged.cpu()


def make_spec(
    data: Batch, classes: tuple[str, ...], config: PretrainConfig
) -> checkpoint.DenoiserSpec:
    """Return how the denoiser for these images is built.

    Raises:
        InputError: There are no images, they are not 8-bit, or a label is out of range.
    """
    check_images(data, classes, config.max_shift)
    metadata = {
        "config": json.loads(json.dumps({**asdict(config), "recipe": config.recipe.describe()})),
        **describe_images(data),
    }
    c, h, w = data.row_shape
    return checkpoint.DenoiserSpec(
        (c, h, w),
        classes,
        compute_pixel_std(data.iterate()),
        config.noise.sigmas,
        config.network,
        config.options,
        metadata,
    )


def check_images(data: Batch, classes: tuple[str, ...], max_shift: int = 0) -> None:
    """Check the images of a run.

    Args:
        data: 8-bit images `[n, c, h, w]` and class indices `[n]`.
        classes: Names.
        max_shift: Pixels that they are translated by at most.

    Raises:
        InputError: There are no images, they are not 8-bit, a label is out of range, or nothing
            would be left of an image after a translation.
    """
    if not len(data):
        raise InputError("there is no image to pretrain on")
    first, shape = next(data.iterate(1)), (len(data), *data.row_shape)
    if first.dtype != torch.uint8 or len(shape) != 4:
        raise InputError(f"images are {first.dtype} {shape}; give uint8 [n, c, h, w]")
    if max_shift >= min(shape[2:]):
        raise InputError(
            f"a translation by {max_shift} pixels leaves nothing of images of "
            f"{shape[3]} x {shape[2]}; reduce --max-shift (max_shift=)"
        )
    if int(data.y.max()) >= len(classes):
        raise InputError(
            f"label {int(data.y.max())} belongs to none of the {len(classes)} classes; "
            "name every class, or set labels to -1 to pretrain without them"
        )


def describe_images(data: Batch) -> dict[str, Any]:
    """Return the number of images and a digest of images and labels, to recognise a run by."""
    content = hashlib.sha256()
    for block in data.iterate():
        content.update(np.ascontiguousarray(block.numpy()).data)  # no copy of the images
    content.update(data.y.numpy().tobytes())
    return {"images": len(data), "content": content.hexdigest()}


def check_same_spec(
    spec: checkpoint.DenoiserSpec, folder: Path, advice: str = OTHER_FOLDER
) -> None:
    """Check that `folder` holds no run with another configuration.

    Args:
        spec: How the network is built, and from what.
        folder: The folder.
        advice: How to start again, for the message.

    Raises:
        InputError: It does.
    """
    if not (folder / checkpoint.JSON).exists():
        return
    saved_spec, new_spec = (
        to_comparable_json(checkpoint.read_spec(folder)),
        to_comparable_json(spec),
    )
    if saved_spec != new_spec:
        raise make_other_plan_error(folder, advice)


def make_other_plan_error(folder: Path, advice: str = OTHER_FOLDER) -> InputError:
    """Return the error of a folder that holds a run with another configuration."""
    return InputError(
        f"{folder} holds a diffusion model with other settings, or of other images, labels or "
        f"groups; use the same settings to resume, or {advice} to start again"
    )


def to_comparable_json(spec: checkpoint.DenoiserSpec) -> Any:
    """Return `spec` as plain JSON without the fields that may change when resuming."""
    plain = json.loads(json.dumps(asdict(spec)))
    plain["metadata"].pop("updates", None)
    config = plain["metadata"].get("config")
    if isinstance(config, dict) and isinstance(config.get("recipe"), dict):
        for name in MUTABLE_FIELDS:
            config["recipe"].pop(name, None)
        config.pop("checkpoint_every", None)
    return plain


def make_checkpoint_writer(
    spec: checkpoint.DenoiserSpec, folder: Path, device: str, *, with_samples: bool = True
) -> Callable[[int, float, nn.Module], None]:
    """Return a callback that saves the denoiser, a log line and samples to `folder`."""
    started = time.monotonic()

    def write_checkpoint(step: int, loss: float, average: nn.Module) -> None:
        assert isinstance(average, Denoiser)
        metadata = {**spec.metadata, "updates": step}
        line = {
            "updates": step,
            "loss": loss,
            "seconds": round(time.monotonic() - started, 1),
            "cpu_seconds": round(time.process_time(), 1),
        }
        log = "\n".join([*_read_log(folder, step), json.dumps(line), ""])
        side_files = {LOG: log.encode()}
        if with_samples:
            side_files[SAMPLES] = _draw_samples(average, len(spec.classes), device)
        current_spec = checkpoint.DenoiserSpec(**{**vars(spec), "metadata": metadata})
        checkpoint.save(average, current_spec, folder, side_files)

    return (
        write_checkpoint if distributed.is_main_process() else (lambda _step, _loss, _average: None)
    )


def _draw_samples(denoiser: Denoiser, k: int, device: str) -> bytes:
    """Return a PNG file with a grid of samples of every class in turn."""
    classes = torch.arange(ROWS * COLUMNS) % k if k else torch.full((ROWS * COLUMNS,), -1)
    samples = Sampler().draw(denoiser, classes, device)
    return encode_drawn(pixels_to_pil(make_grid(samples, COLUMNS)))


def _read_log(folder: Path, step: int) -> list[str]:
    """Return the lines of the log up to before update `step`, which may have been made before.

    A run that is killed between its model and its training state makes some updates again.
    """
    try:
        lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
        return [line for line in lines if json.loads(line)["updates"] < step]
    except (OSError, ValueError, LookupError, TypeError):
        return []  # there is none, or it is damaged and begun anew
