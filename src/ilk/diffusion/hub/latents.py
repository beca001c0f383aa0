"""Pictures as the latents that a network works on, and back.

Latents are the mean of the autoencoder's posterior, never a draw from it, less its shift and times
its scale, so that they have a spread of about one (Robin Rombach and others, 2022, High-Resolution
Image Synthesis with Latent Diffusion Models, arXiv 2112.10752, appendix G). In the store they are
rows like any encoder's.
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

from ilk.data import Features
from ilk.diffusion.hub.families import Layout
from ilk.diffusion.hub.parts import network
from ilk.encoders import device as devices
from ilk.encoders.address import key
from ilk.encoders.preprocess import Preprocess
from ilk.errors import InputError
from ilk.store import Space

VERSION = 1  # raised whenever the same picture would give other latents than before
CHUNK = 4  # pictures at once: an autoencoder needs a gigabyte for one of 512 x 512


class Latents:
    """The autoencoder of a checkpoint, in float32; an `Embeds`, so that the store holds its rows.

    Args:
        layout: Where.
        shape: `(channels, side, side)` of the latents that the network takes.
        name: What it is called.
        device: Where it runs.

    Attributes:
        side: Side of the pictures, in pixels: the latents' times the autoencoder's reduction.

    Raises:
        InputError: Its latents are not those of the network, or it takes no RGB.
    """

    batch = CHUNK

    def __init__(
        self, layout: Layout, shape: tuple[int, int, int], name: str, device: str = "cpu"
    ) -> None:
        self.layout, self.shape, self.name = layout, shape, name
        self.device = devices.pick(device)
        config = layout.config("vae")
        self.factor = 2 ** (len(config.get("block_out_channels", (64,))) - 1)
        self.side = shape[1] * self.factor
        self.scale = float(config.get("scaling_factor") or 0.18215)
        self.shift = float(config.get("shift_factor") or 0.0)
        channels, takes = config.get("latent_channels", 4), config.get("in_channels", 3)
        if channels != shape[0]:
            raise InputError(
                f"{layout.part('vae')} gives latents of {channels} channels, but the network takes "
                f"{shape[0]}; it is made for other input (inpainting, upscaling)"
            )
        if takes != 3:
            raise InputError(f"{layout.part('vae')} takes {takes} channels; ilk gives it RGB")
        self._loading = threading.Lock()
        self._model: Any = None

    @cached_property
    def preprocess(self) -> Preprocess:
        """Bicubic resize of the short side, centre crop, [-1, 1]."""
        size = (self.side, self.side)
        half = (0.5, 0.5, 0.5)
        return Preprocess(size, size, "short", "bicubic", half, half)

    @cached_property
    def space(self) -> Space:
        return Space(key(self._parts()), self.name, int(np.prod(self.shape)))

    def _parts(self) -> dict[str, Any]:
        return {
            "family": "latents",
            "weights": self.layout.digest("vae"),
            "preprocess": self.preprocess.to_json(),
            "version": VERSION,
        }

    def describe(self) -> dict[str, Any]:
        """JSON: name, key, digest of the weights, preprocessing, precision."""
        return {
            "name": self.name,
            "key": self.space.key,
            **self._parts(),
            "precision": "float32",
            "folder": str(self.layout.folder.absolute()),
        }

    def load(self) -> None:
        """Read the weights, if they are not read yet.

        Raises:
            InputError: The files make no autoencoder.
        """
        self._autoencoder()

    def _autoencoder(self) -> Any:
        with self._loading:
            if self._model is None:
                kinds = ("AutoencoderKL",)
                self._model = network(self.layout, "vae", kinds, "float32", self.device)
            return self._model

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """An RGB picture, resized and cropped, `[3, side, side]`."""
        return self.preprocess.prepare(image)

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        """Latents `[b, c * h * w]` of prepared pictures `[b, 3, side, side]`."""
        return self.encode(self.preprocess.normalise(batch)).flatten(1).numpy()

    def unflatten(self, rows: Features) -> Tensor:
        """Rows of the store `[n, c * h * w]` as latents `[n, c, h, w]`."""
        return torch.from_numpy(np.ascontiguousarray(rows)).view(-1, *self.shape)

    def encode(self, x: Tensor) -> Tensor:
        """Latents `[n, c, h, w]` float32 on the CPU of pictures `[n, 3, side, side]` in [-1, 1].

        Raises:
            InputError: Pictures of another size.
        """
        if tuple(x.shape[1:]) != (3, self.side, self.side):
            told = " x ".join(map(str, x.shape[1:]))
            raise InputError(
                f"pictures of {told} cannot go in: the autoencoder takes 3 x {self.side} x "
                f"{self.side}; resize and crop them (`Latents.prepare`)"
            )
        vae, made = self._autoencoder(), torch.empty(len(x), *self.shape)
        with torch.no_grad():
            for at in range(0, len(x), CHUNK):
                part = slice(at, at + CHUNK)
                mean = vae.encode(x[part].to(self.device, torch.float32)).latent_dist.mean
                made[part] = ((mean - self.shift) * self.scale).cpu()
        return made

    def decode(self, z: Tensor) -> Tensor:
        """Pictures `[n, 3, side, side]` in [-1, 1] of latents `[n, c, h, w]`, on the CPU.

        Raises:
            InputError: Latents of another shape.
        """
        if tuple(z.shape[1:]) != self.shape:
            told, takes = (" x ".join(map(str, s)) for s in (z.shape[1:], self.shape))
            raise InputError(f"latents of {told} cannot be drawn: the autoencoder takes {takes}")
        vae, made = self._autoencoder(), torch.empty(len(z), 3, self.side, self.side)
        with torch.no_grad():
            for at in range(0, len(z), CHUNK):
                part = slice(at, at + CHUNK)
                mean = z[part].to(self.device, torch.float32) / self.scale + self.shift
                made[part] = vae.decode(mean).sample.clamp(-1, 1).cpu()
        return made
