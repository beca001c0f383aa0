"""`diffusion:PATH` where diffusers wrote PATH: features of a checkpoint, read as from one of ilk's.

Without a place of its own it is read at the first block after the middle, at sigma 0.31 on the
network's scale, pooled to 2 x 2: block 24 of 37 at step 90 of a linear schedule, the place of
arXiv 2307.08702 by signal-to-noise ratio. No class and no text is told.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ilk.data import Features
from ilk.diffusion.asked import Asked
from ilk.diffusion.features import features
from ilk.diffusion.hub.families import SD, SD3, identify
from ilk.diffusion.hub.open import open_folder
from ilk.diffusion.places import home_of
from ilk.diffusion.reading import Point, Reading
from ilk.diffusion.taps import Taps
from ilk.encoders import device as devices
from ilk.encoders.address import key
from ilk.encoders.pixels import Pixels
from ilk.store import Space

VERSION = 1  # raised whenever the same folder and image would give other features than before
SIGMA = 0.31
NOTHING = ("nothing",)  # a text-to-image pipeline wants a class; it is never told


class CheckpointFeatures:
    """Features of a checkpoint, as `ilk.encoders.capabilities.Embeds`. Its network is read at once.

    Args:
        asked: Folder, points, draws, seed.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `float32` or `bfloat16`, of the network; features are float32.

    Raises:
        Unavailable: diffusers is not installed, or files are missing.
        InputError: It is of a family that cannot be read, or has no such block or noise level.
    """

    def __init__(self, asked: Asked, device: str = "auto", precision: str = "float32") -> None:
        self.folder = home_of(asked.path)
        where = devices.pick(device)
        family = identify(self.folder).family
        classes = NOTHING if family in (SD, SD3) else None
        self.opened = open_folder(self.folder, classes, device=where, precision=precision)
        self.taps = Taps(self.opened.network)
        points = asked.points or (self._place(),)
        self.asked = Asked(asked.path, points, asked.draws, asked.seed)
        self._dim = sum(point.width(point.check(self.taps)) for point in points)
        self.name, self.precision, self.batch = str(self.asked), precision, 4
        self.reading = Reading(asked.seed, asked.draws, self.batch, "float32")
        self.pixels = Pixels(self.opened.side, self.opened.side, self.opened.network.shape[0])
        self._turn = threading.Lock()

    def _place(self) -> Point:
        block = min(self.taps.middle + 1, len(self.taps.places))
        low, high = self.opened.network.sigmas
        return Point(block, min(max(SIGMA, low), high), min(2, self.taps.check(block).side))

    @cached_property
    def space(self) -> Space:
        return Space(key(self._parts()), self.name, self._dim)

    def _parts(self) -> dict[str, Any]:
        return {
            "family": "diffusion features of a checkpoint",
            "version": VERSION,
            "weights": self.opened.digest,
            "points": [str(point) for point in self.asked.points],
            "draws": self.asked.draws,
            "seed": self.asked.seed,
            "precision": self.precision,
        }

    def describe(self) -> dict[str, Any]:
        about = {"name": self.name, "key": self.space.key, **self._parts()}
        return {**about, "folder": str(self.folder.absolute())}

    def load(self) -> None:
        """Nothing is left to load."""

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        return (self.opened.latents or self.pixels).prepare(image)

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        latents = self.opened.latents
        with self._turn, torch.inference_mode():
            if latents is None:
                x = torch.from_numpy(np.array(batch))
            else:
                x = latents.unflatten(latents.embed(batch))
            found: Features = features(self.taps, x, self.asked.points, self.reading).numpy()
        return found
