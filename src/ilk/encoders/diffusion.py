"""`diffusion:PATH`: activations of a pretrained diffusion model as features.

    diffusion:PATH                                        at the best point known
    diffusion:PATH@block=6,sigma=0.4,pool=2               at that point
    diffusion:PATH@block=6,sigma=0.4,pool=2+block=7,sigma=0.8,pool=1      both, side by side
    diffusion:PATH@block=6,sigma=0.4,pool=2+draws=4,seed=1                the mean of 4 draws

The best point known is what `ilk.diffusion.features.search` saved in the folder; without it, the
first block after the middle at a noise of half the standard deviation of the data, pooled to 2 x 2:
the optimum in the papers lies on the decoder's side, just after the middle, at small to moderate
noise (arXiv 2307.08702: block 24 of 37, step 90 of 1000, which is sigma 0.31).
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ilk.core import device as devices
from ilk.core.capabilities import Embeds
from ilk.core.data import Features
from ilk.core.errors import InputError
from ilk.core.fingerprint import compute_key, hash_file
from ilk.core.space import FeatureSpace
from ilk.diffusion.checkpoint import checkpoint as saved
from ilk.diffusion.checkpoint.encoder_name import EncoderName
from ilk.diffusion.checkpoint.model_paths import is_diffusers_checkpoint, resolve_home
from ilk.diffusion.features.extract import extract_features
from ilk.diffusion.features.feature_point import FeatureConfig, FeaturePoint
from ilk.diffusion.features.hooks import Hooks
from ilk.diffusion.features.search_result import read_selected_point
from ilk.encoders.options import EncoderOptions
from ilk.images.pixels import PixelEncoder

FORM = "diffusion:PATH"
SETTINGS = True
VERSION = 1  # increment when the same folder and image give different features
CPU_BATCH, GPU_BATCH = 16, 256
DEFAULT_SIGMA_RATIO = 0.5  # noise over the data's standard deviation, without a search result


class DiffusionEncoder:
    """Features of a diffusion model of ilk, as `ilk.core.capabilities.Embeds`.

    Args:
        encoder_name: Folder, points, draws, seed.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `float32` or `bfloat16`, for the network; features are float32.

    Attributes:
        point_origin: How the points were chosen, in words.

    Raises:
        ArtifactError: The folder holds no diffusion model of ilk.
        InputError: It has no such block or noise level, or takes neither grey nor RGB images.
    """

    def __init__(
        self, encoder_name: EncoderName, device: str = "auto", precision: str = "float32"
    ) -> None:
        devices.check_device(device)
        self.folder = resolve_home(encoder_name.path)
        self.spec = saved.read_spec(self.folder)
        channels, height, width = self.spec.shape
        if channels not in (1, 3):
            raise InputError(
                f"{self.folder} takes images of {channels} channels; only grey and RGB images "
                "can be encoded"
            )
        with torch.device("meta"):  # shapes without weights
            # Once transformers has loaded a network, torch.linspace may make real numbers here.
            meta_hooks = Hooks(self.spec.build().to("meta").eval())
        points, self.point_origin = self._choose_points(encoder_name, meta_hooks)
        self.encoder_name = EncoderName(
            encoder_name.path, points, encoder_name.draws, encoder_name.seed
        )
        self._dim = sum(point.count_features(point.check(meta_hooks)) for point in points)
        self.name, self.device, self.precision = str(self.encoder_name), device, precision
        self.pixels = PixelEncoder(height, width, channels)
        self.batch_size = CPU_BATCH if device in ("auto", "cpu") else GPU_BATCH
        self.feature_config = FeatureConfig(
            encoder_name.seed, encoder_name.draws, self.batch_size, precision
        )
        self._load_lock = threading.Lock()
        self._hooks: Hooks | None = None
        self._device_lock: AbstractContextManager[Any] = nullcontext()

    def _choose_points(
        self, encoder_name: EncoderName, hooks: Hooks
    ) -> tuple[tuple[FeaturePoint, ...], str]:
        if encoder_name.points:
            return encoder_name.points, "given in the name"
        if (selected := read_selected_point(self.folder)) is not None:
            return (selected,), "found by cross-validation on labelled images"
        block = min(hooks.middle + 1, len(hooks.block_names))
        low, high = self.spec.sigmas
        sigma = float(f"{min(max(DEFAULT_SIGMA_RATIO * self.spec.sigma_data, low), high):.3g}")
        point = FeaturePoint(block, min(max(sigma, low), high), min(2, hooks.get_block(block).side))
        return (point,), "the first block after the middle, at half the spread of the data"

    @cached_property
    def space(self) -> FeatureSpace:
        return FeatureSpace(compute_key(self._describe_space()), self.name, self._dim)

    def _describe_space(self) -> dict[str, Any]:
        """Return everything that its features depend on, which excludes the folder name."""
        spec = self.spec
        return {
            "family": "diffusion features",
            "version": VERSION,
            "network": [spec.network, spec.options, spec.shape, len(spec.classes)],
            "scale": [spec.sigma_data, *spec.sigmas],
            "weights": hash_file(self.folder / saved.ARRAYS),
            "points": [str(point) for point in self.encoder_name.points],
            "draws": self.encoder_name.draws,
            "seed": self.encoder_name.seed,
            "precision": self.precision,
        }

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "key": self.space.key,
            **self._describe_space(),
            "chosen": self.point_origin,
            "folder": str(self.folder.absolute()),
        }

    def load(self) -> None:
        """Load the weights, if not loaded yet.

        Raises:
            ArtifactError: They do not match the folder's description.
        """
        self.load_hooks()

    def load_hooks(self) -> Hooks:
        """Return the network, ready to run; raises what `load` raises."""
        with self._load_lock:
            if self._hooks is None:
                device_name = devices.pick_device(self.device)
                network = saved.load(self.folder).requires_grad_(False).to(device_name)
                if device_name != "cpu":  # threads take turns on a GPU, and it wants more at once
                    self._device_lock, self.batch_size = threading.Lock(), GPU_BATCH
                self._hooks = Hooks(network)
            return self._hooks

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Preprocess an RGB image to `[c, h, w]` uint8."""
        return self.pixels.prepare(image)

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        """Return features `[b, d]` of prepared images `[b, c, h, w]`."""
        hooks = self.load_hooks()
        with self._device_lock, torch.inference_mode():
            x = torch.from_numpy(np.array(batch))
            embeddings: Features = extract_features(
                hooks, x, self.encoder_name.points, self.feature_config
            ).numpy()
        return embeddings


def open_encoder(name: str, options: EncoderOptions = EncoderOptions()) -> Embeds:  # noqa: B008
    """Open `diffusion:PATH` or `diffusion:PATH@SETTINGS`.

    Of a model of ilk it reads the folder's JSON only; a checkpoint of diffusers is read at once.
    Raises what `EncoderName.parse`, `DiffusionEncoder` and `DiffusersEncoder` raise.
    """
    encoder_name = EncoderName.parse(name)
    if is_diffusers_checkpoint(resolve_home(encoder_name.path)):
        from ilk.encoders.diffusers_checkpoint import DiffusersEncoder

        return DiffusersEncoder(encoder_name, options.device, options.precision)
    return DiffusionEncoder(encoder_name, options.device, options.precision)
