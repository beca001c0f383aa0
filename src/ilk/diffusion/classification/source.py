"""The origin of a diffusion classifier's network: pretrained by ilk, or a diffusers checkpoint."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ilk.core import device as devices
from ilk.core.errors import InputError
from ilk.core.fingerprint import hash_file
from ilk.diffusion.checkpoint import checkpoint, training_images
from ilk.diffusion.checkpoint.model_paths import (
    find_classifier_home,
    get_fold_folder,
    is_diffusers_checkpoint,
    list_fold_files,
)
from ilk.diffusion.checkpoint.training_images import TrainingImages
from ilk.diffusion.classification import calibration_errors, nearest_mean_head
from ilk.diffusion.classification.calibration_errors import CalibrationErrors
from ilk.diffusion.classification.class_subset import check_classes, select_classes
from ilk.diffusion.classification.context import ClassificationContext
from ilk.diffusion.denoiser.protocol import Denoises, normalize_images
from ilk.diffusion.noise_optimization import noise_file
from ilk.images.pixels import PixelEncoder

PixelArray = NDArray[np.uint8]
SIDE_FILES = {  # files that the scores of a strategy depend on, besides the network
    "race": (training_images.FILE, calibration_errors.FILE),
    "naive": (training_images.FILE, calibration_errors.FILE),
    "staged": (training_images.FILE,),
    "noise": (noise_file.JSON, noise_file.ARRAYS),
}


class Source(Protocol):
    """A network, its input format, and its training images."""

    @property
    def home(self) -> Path:
        """Folder of the network, which may be that of a tuned one within the model's."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes to distinguish."""

    @property
    def training_images(self) -> TrainingImages:
        """Labelled images of its training, as far as known."""

    @property
    def calibration_errors(self) -> CalibrationErrors | None:
        """Errors of labelled images that it was not trained on."""

    def collect_digests(self, strategy: str) -> list[str]:
        """Return the digests of all files that the scores of `strategy` depend on."""

    @property
    def precision(self) -> str:
        """Precision of its network."""

    def prepare(self, image: Image.Image) -> PixelArray:
        """Convert an RGB image to the input `[c, h, w]`."""

    def to_network_input(self, batch: PixelArray) -> Tensor:
        """Convert prepared images `[n, c, h, w]` to the clean input `[n, ...]` of the network."""

    def load_network(self, fold: int) -> Denoises:
        """Load the network trained without `fold`; -1 is the one trained on all images."""


class IlkCheckpoint:
    """A folder written by `ilk pretrain`; the network tuned from it classifies, if there is one.

    Raises:
        ArtifactError: It holds no diffusion model of ilk.
        InputError: The model has no classes, or lacks a requested class.
    """

    def __init__(
        self, home: Path, context: ClassificationContext, device: str, precision: str
    ) -> None:
        self.home, self.precision = find_classifier_home(home), precision
        self.device = device
        self.spec = checkpoint.read_spec(self.home)
        if not self.spec.classes:
            raise InputError(
                f"{home} was pretrained without labels, so it cannot classify; "
                f"use its features, --encoder diffusion:{home}, or pretrain on labelled images"
            )
        check_classes(self.spec.classes, context.classes or ())
        self.classes = tuple(context.classes or self.spec.classes)
        channels, height, width = self.spec.shape
        self.pixels = PixelEncoder(height, width, channels)

    @cached_property
    def training_images(self) -> TrainingImages:
        return training_images.load(self.home)

    @cached_property
    def calibration_errors(self) -> CalibrationErrors | None:
        errors = calibration_errors.load(self.home)
        return errors and errors.select_classes(
            [self.spec.classes.index(name) for name in self.classes]
        )

    def collect_digests(self, strategy: str) -> list[str]:
        own_files = [
            self.home / name
            for name in (checkpoint.JSON, checkpoint.ARRAYS, *SIDE_FILES.get(strategy, ()))
        ]
        own_files += [
            get_fold_folder(self.home, fold) / nearest_mean_head.FILE
            for fold in range(-1, self.training_images.folds)
        ]
        fold_files = (
            [] if strategy == "noise" else list_fold_files(self.home, self.training_images.folds)
        )
        paths = [*own_files, *fold_files]
        return [hash_file(path) for path in paths if path.exists()]

    def prepare(self, image: Image.Image) -> PixelArray:
        """Resize an RGB image to `[c, h, w]`."""
        return self.pixels.prepare(image)

    def to_network_input(self, batch: PixelArray) -> Tensor:
        """Scale 8-bit images `[n, c, h, w]` to [-1, 1]."""
        return normalize_images(torch.from_numpy(np.array(batch)))

    def load_network(self, fold: int) -> Denoises:
        denoiser = checkpoint.load(get_fold_folder(self.home, fold)).to(
            devices.pick_device(self.device)
        )
        return select_classes(denoiser, self.classes)


class DiffusersCheckpoint:
    """A diffusers checkpoint; its network is loaded at once.

    Raises:
        Unavailable: diffusers is not installed, or files are missing.
        InputError: The checkpoint is of an unsupported family, or does not match the classes.
    """

    training_images = TrainingImages(np.zeros(0, np.int64), np.zeros(0, np.int64))
    calibration_errors = None
    precision = "float32"  # the network already has the requested precision

    def __init__(
        self, home: Path, context: ClassificationContext, device: str, precision: str
    ) -> None:
        from ilk.diffusion.diffusers import open_checkpoint

        self.checkpoint = open_checkpoint(
            home,
            context.classes,
            context.prompts,
            devices.pick_device(device),
            precision,
            context.store,
        )
        self.home, self.store = home, context.store
        self.classes = self.checkpoint.network.classes
        if not self.classes:
            raise InputError(
                f"{home} was trained without classes, so it cannot classify; "
                "use a class-conditional or text-to-image checkpoint"
            )
        self.condition_texts = [*self.classes, *context.prompts]
        channels = self.checkpoint.network.shape[0]
        self.pixels = PixelEncoder(self.checkpoint.image_size, self.checkpoint.image_size, channels)

    def collect_digests(self, strategy: str) -> list[str]:
        return [self.checkpoint.digest, *self.condition_texts]

    def prepare(self, image: Image.Image) -> PixelArray:
        """Resize an RGB image to `[c, h, w]`."""
        return (self.checkpoint.latents or self.pixels).prepare(image)

    def to_network_input(self, batch: PixelArray) -> Tensor:
        """Scale 8-bit images `[n, c, h, w]` to [-1, 1], or encode them to latents."""
        latents = self.checkpoint.latents
        if latents is None:
            return normalize_images(torch.from_numpy(np.array(batch)))
        if self.store is None:
            return latents.unflatten(latents.embed(batch))
        digests = [hashlib.sha256(x.tobytes()).hexdigest() for x in batch]
        missing = set(self.store.find_missing(latents.space, digests))
        missing_rows = [i for i, digest in enumerate(digests) if digest in missing]
        if missing_rows:
            self.store.put(
                latents.space,
                [digests[i] for i in missing_rows],
                latents.embed(batch[missing_rows]),
            )
        return latents.unflatten(self.store.get(latents.space, digests))

    def load_network(self, fold: int) -> Denoises:
        return self.checkpoint.network


def open_source(home: Path, context: ClassificationContext, device: str, precision: str) -> Source:
    """Open the model in `home`; a diffusers checkpoint requires that package."""
    kind = DiffusersCheckpoint if is_diffusers_checkpoint(home) else IlkCheckpoint
    return kind(home, context, device, precision)
