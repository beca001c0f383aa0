"""Convert images to the latents that a network works on, and back.

Latents are the mean of the autoencoder's posterior, never a sample from it, shifted and scaled to
a standard deviation of about one (Robin Rombach and others, 2022, High-Resolution Image Synthesis
with Latent Diffusion Models, arXiv 2112.10752, appendix G). The feature store holds them as it
holds the features of any encoder.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ilk.core import device as devices
from ilk.core.data import Features
from ilk.core.errors import InputError
from ilk.core.fingerprint import compute_key
from ilk.core.space import FeatureSpace
from ilk.diffusion.diffusers.families import CheckpointLayout
from ilk.diffusion.diffusers.parts import load_network
from ilk.hub.preprocessing import Preprocess

VERSION = 1  # increase whenever the same image would give other latents
BATCH_SIZE = 4  # images; an autoencoder needs 1 GB for one image of 512 x 512


class LatentEncoder:
    """The autoencoder of a checkpoint in float32, an `Embeds`.

    Args:
        layout: The checkpoint.
        shape: `(channels, height, width)` of the latents that the network takes.
        name: Name of the encoder.
        device: Device on which it runs.

    Attributes:
        image_size: Height and width of the images in pixels: those of the latents times the
            downsampling factor of the autoencoder.

    Raises:
        InputError: The latents are not those of the network, or the autoencoder takes no RGB
            images.
    """

    batch_size = BATCH_SIZE

    def __init__(
        self, layout: CheckpointLayout, shape: tuple[int, int, int], name: str, device: str = "cpu"
    ) -> None:
        self.layout, self.shape, self.name = layout, shape, name
        self.device = devices.pick_device(device)
        config = layout.read_config("vae")
        self.downsampling = 2 ** (len(config.get("block_out_channels", (64,))) - 1)
        self.image_size = shape[1] * self.downsampling
        self.scale = float(config.get("scaling_factor") or 0.18215)
        self.shift = float(config.get("shift_factor") or 0.0)
        channels, in_channels = config.get("latent_channels", 4), config.get("in_channels", 3)
        if channels != shape[0]:
            raise InputError(
                f"{layout.get_folder('vae')} gives latents of {channels} channels, but the network "
                f"takes {shape[0]}; use a text-to-image pipeline (not inpainting or upscaling)"
            )
        if in_channels != 3:
            raise InputError(
                f"{layout.get_folder('vae')} takes {in_channels} channels instead of 3 (RGB)"
            )
        self._lock = threading.Lock()
        self._model: Any = None

    @cached_property
    def preprocess(self) -> Preprocess:
        """Bicubic resize of the shorter side, centre crop, scaling to [-1, 1]."""
        size = (self.image_size, self.image_size)
        half = (0.5, 0.5, 0.5)
        return Preprocess(size, size, "short", "bicubic", half, half)

    @cached_property
    def space(self) -> FeatureSpace:
        """The feature space of the latents; known without loading the weights."""
        return FeatureSpace(
            compute_key(self._describe_space()), self.name, int(np.prod(self.shape))
        )

    def _describe_space(self) -> dict[str, Any]:
        return {
            "family": "latents",
            "weights": self.layout.compute_digest("vae"),
            "preprocess": self.preprocess.to_json(),
            "version": VERSION,
        }

    def describe(self) -> dict[str, Any]:
        """Return the name, key, weight digest, preprocessing and precision as JSON."""
        return {
            "name": self.name,
            "key": self.space.key,
            **self._describe_space(),
            "precision": "float32",
            "folder": str(self.layout.folder.absolute()),
        }

    def load(self) -> None:
        """Load the weights, unless they are loaded.

        Raises:
            InputError: The files do not form an autoencoder.
        """
        self._get_autoencoder()

    def _get_autoencoder(self) -> Any:
        with self._lock:
            if self._model is None:
                kinds = ("AutoencoderKL",)
                self._model = load_network(self.layout, "vae", kinds, "float32", self.device)
            return self._model

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return an RGB image resized and cropped to `[3, image_size, image_size]`."""
        return self.preprocess.prepare(image)

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        """Return the latents `[b, c * h * w]` of images `[b, 3, image_size, image_size]`."""
        x = torch.from_numpy(self.preprocess.normalize(batch))
        return self.encode(x).flatten(1).numpy()

    def unflatten(self, rows: Features) -> Tensor:
        """Reshape rows of the store `[n, c * h * w]` to latents `[n, c, h, w]`."""
        return torch.from_numpy(np.ascontiguousarray(rows)).view(-1, *self.shape)

    def encode(self, x: Tensor) -> Tensor:
        """Return the latents `[n, c, h, w]` of images.

        Args:
            x: Images `[n, 3, image_size, image_size]` in [-1, 1].

        Returns:
            float32 on the CPU.

        Raises:
            InputError: The images have another size.
        """
        if tuple(x.shape[1:]) != (3, self.image_size, self.image_size):
            actual = " x ".join(map(str, x.shape[1:]))
            raise InputError(
                f"images of {actual} cannot be encoded: the autoencoder takes "
                f"3 x {self.image_size} x {self.image_size}; use `LatentEncoder.prepare`"
            )
        vae, out = self._get_autoencoder(), torch.empty(len(x), *self.shape)
        with torch.no_grad():
            for start in range(0, len(x), BATCH_SIZE):
                rows = slice(start, start + BATCH_SIZE)
                mean = vae.encode(x[rows].to(self.device, torch.float32)).latent_dist.mean
                out[rows] = ((mean - self.shift) * self.scale).cpu()
        return out

    def decode(self, z: Tensor) -> Tensor:
        """Return the images `[n, 3, image_size, image_size]` in [-1, 1] of latents `[n, c, h, w]`.

        Raises:
            InputError: The latents have another shape.
        """
        if tuple(z.shape[1:]) != self.shape:
            actual, expected = (" x ".join(map(str, s)) for s in (z.shape[1:], self.shape))
            raise InputError(
                f"latents of {actual} cannot be decoded: the autoencoder takes {expected}"
            )
        vae, out = self._get_autoencoder(), torch.empty(len(z), 3, self.image_size, self.image_size)
        with torch.no_grad():
            for start in range(0, len(z), BATCH_SIZE):
                rows = slice(start, start + BATCH_SIZE)
                mean = z[rows].to(self.device, torch.float32) / self.scale + self.shift
                out[rows] = vae.decode(mean).sample.clamp(-1, 1).cpu()
        return out
