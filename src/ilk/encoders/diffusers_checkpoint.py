"""`diffusion:PATH` for a checkpoint of diffusers: its features, as from a model of ilk.

By default features are read at the first block after the middle, at sigma 0.31 on the
network's scale, pooled to 2 x 2: block 24 of 37 at step 90 of a linear schedule, the point of
arXiv 2307.08702 by signal-to-noise ratio. The network is conditioned on no class and no text.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ilk.core import device as devices
from ilk.core.data import Features
from ilk.core.fingerprint import compute_key
from ilk.core.space import FeatureSpace
from ilk.diffusion.checkpoint.encoder_name import EncoderName
from ilk.diffusion.checkpoint.model_paths import resolve_home
from ilk.diffusion.diffusers.families import SD, SD3, identify
from ilk.diffusion.diffusers.load import open_checkpoint
from ilk.diffusion.features.extract import extract_features
from ilk.diffusion.features.feature_point import FeatureConfig, FeaturePoint
from ilk.diffusion.features.hooks import Hooks
from ilk.images.pixels import PixelEncoder

VERSION = 1  # increment when the same folder and image give different features
DEFAULT_SIGMA = 0.31
PLACEHOLDER_CLASSES = (
    "nothing",
)  # a text-to-image pipeline needs a class; features do not depend on it


class DiffusersEncoder:
    """Features of a checkpoint, as `ilk.core.capabilities.Embeds`. Its network is loaded at once.

    Args:
        encoder_name: Folder, points, draws, seed.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `float32` or `bfloat16`, of the network; features are float32.

    Raises:
        Unavailable: diffusers is not installed, or files are missing.
        InputError: Its family is not supported, or it has no such block or noise level.
    """

    def __init__(
        self, encoder_name: EncoderName, device: str = "auto", precision: str = "float32"
    ) -> None:
        self.folder = resolve_home(encoder_name.path)
        device_name = devices.pick_device(device)
        family = identify(self.folder).family
        classes = PLACEHOLDER_CLASSES if family in (SD, SD3) else None
        self.checkpoint = open_checkpoint(
            self.folder, classes, device=device_name, precision=precision
        )
        self.hooks = Hooks(self.checkpoint.network)
        points = encoder_name.points or (self._choose_default_point(),)
        self.encoder_name = EncoderName(
            encoder_name.path, points, encoder_name.draws, encoder_name.seed
        )
        self._dim = sum(point.count_features(point.check(self.hooks)) for point in points)
        self.name, self.precision, self.batch_size = str(self.encoder_name), precision, 4
        self.feature_config = FeatureConfig(
            encoder_name.seed, encoder_name.draws, self.batch_size, "float32"
        )
        self.pixels = PixelEncoder(
            self.checkpoint.image_size, self.checkpoint.image_size, self.checkpoint.network.shape[0]
        )
        self._device_lock = threading.Lock()

    def _choose_default_point(self) -> FeaturePoint:
        block = min(self.hooks.middle + 1, len(self.hooks.block_names))
        low, high = self.checkpoint.network.sigmas
        return FeaturePoint(
            block, min(max(DEFAULT_SIGMA, low), high), min(2, self.hooks.get_block(block).side)
        )

    @cached_property
    def space(self) -> FeatureSpace:
        return FeatureSpace(compute_key(self._describe_space()), self.name, self._dim)

    def _describe_space(self) -> dict[str, Any]:
        return {
            "family": "diffusion features of a checkpoint",
            "version": VERSION,
            "weights": self.checkpoint.digest,
            "points": [str(point) for point in self.encoder_name.points],
            "draws": self.encoder_name.draws,
            "seed": self.encoder_name.seed,
            "precision": self.precision,
        }

    def describe(self) -> dict[str, Any]:
        description = {"name": self.name, "key": self.space.key, **self._describe_space()}
        return {**description, "folder": str(self.folder.absolute())}

    def load(self) -> None:
        """Do nothing: the network is loaded already."""

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Preprocess an RGB image to `[c, h, w]` uint8."""
        return (self.checkpoint.latents or self.pixels).prepare(image)

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        """Return features `[b, d]` of prepared images `[b, c, h, w]`."""
        latents = self.checkpoint.latents
        with self._device_lock, torch.inference_mode():
            if latents is None:
                x = torch.from_numpy(np.array(batch))
            else:
                x = latents.unflatten(latents.embed(batch))
            embeddings: Features = extract_features(
                self.hooks, x, self.encoder_name.points, self.feature_config
            ).numpy()
        return embeddings
