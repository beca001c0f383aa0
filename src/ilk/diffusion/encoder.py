"""`diffusion:PATH`: what the blocks of a pretrained diffusion model see, as an encoder.

    diffusion:PATH                                        at the best place known
    diffusion:PATH@block=6,sigma=0.4,pool=2               there
    diffusion:PATH@block=6,sigma=0.4,pool=2+block=7,sigma=0.8,pool=1      both, side by side
    diffusion:PATH@block=6,sigma=0.4,pool=2+draws=4,seed=1                the mean of 4 draws

The best place known is what `ilk.diffusion.search` left in the folder; without it, the first block
after the middle at a noise of half of the data's spread, pooled to 2 x 2: the optimum that the
papers find lies on the decoder's side, just after the middle, at small to moderate noise
(arXiv 2307.08702: block 24 of 37, step 90 of 1000, which is sigma 0.31).
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

from ilk.data import Features
from ilk.diffusion import saved
from ilk.diffusion.asked import Asked
from ilk.diffusion.features import features
from ilk.diffusion.found import known
from ilk.diffusion.places import foreign, home_of
from ilk.diffusion.reading import Point, Reading
from ilk.diffusion.taps import Taps
from ilk.encoders import device as devices
from ilk.encoders.address import file_digest, key
from ilk.encoders.capabilities import Embeds
from ilk.encoders.pixels import Pixels
from ilk.errors import InputError
from ilk.store import Space

VERSION = 1  # raised whenever the same folder and image would give other features than before
CPU_BATCH, GPU_BATCH = 16, 256
SHARE = 0.5  # of the data's spread: the noise where nothing better is known


class DiffusionFeatures:
    """Features of a diffusion model of ilk, as `ilk.encoders.capabilities.Embeds`.

    Args:
        asked: Folder, points, draws, seed.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `float32` or `bfloat16`, for the network; features are float32.

    Attributes:
        chosen: How the points were chosen, in words.

    Raises:
        ArtefactError: The folder holds no diffusion model of ilk.
        InputError: It has no such block or noise level, or takes neither grey nor RGB images.
    """

    def __init__(self, asked: Asked, device: str = "auto", precision: str = "float32") -> None:
        devices.check(device)
        self.folder = home_of(asked.path)
        self.build = saved.read(self.folder)
        channels, height, width = self.build.shape
        if channels not in (1, 3):
            raise InputError(
                f"{self.folder} takes images of {channels} channels; only grey and RGB images "
                "can be encoded"
            )
        with torch.device("meta"):  # shapes without weights
            # Once transformers has loaded a network, torch.linspace may make real numbers here.
            plan = Taps(self.build.make().to("meta").eval())
        points, self.chosen = self._points(asked, plan)
        self.asked = Asked(asked.path, points, asked.draws, asked.seed)
        self._dim = sum(point.width(point.check(plan)) for point in points)
        self.name, self.device, self.precision = str(self.asked), device, precision
        self.pixels = Pixels(height, width, channels)
        self.batch = CPU_BATCH if device in ("auto", "cpu") else GPU_BATCH
        self.reading = Reading(asked.seed, asked.draws, self.batch, precision)
        self._loading = threading.Lock()
        self._taps: Taps | None = None
        self._turn: AbstractContextManager[Any] = nullcontext()

    def _points(self, asked: Asked, plan: Taps) -> tuple[tuple[Point, ...], str]:
        if asked.points:
            return asked.points, "as asked for"
        if (found := known(self.folder)) is not None:
            return (found,), "found by cross-validation on labelled images"
        block = min(plan.middle + 1, len(plan.places))
        low, high = self.build.sigmas
        sigma = float(f"{min(max(SHARE * self.build.spread, low), high):.3g}")
        point = Point(block, min(max(sigma, low), high), min(2, plan.check(block).side))
        return (point,), "the first block after the middle, at half of the data's spread"

    @cached_property
    def space(self) -> Space:
        return Space(key(self._parts()), self.name, self._dim)

    def _parts(self) -> dict[str, Any]:
        """All that its features hang on, and nothing else: not the folder's name."""
        build = self.build
        return {
            "family": "diffusion features",
            "version": VERSION,
            "network": [build.network, build.options, build.shape, len(build.classes)],
            "scale": [build.spread, *build.sigmas],
            "weights": file_digest(self.folder / saved.ARRAYS),
            "points": [str(point) for point in self.asked.points],
            "draws": self.asked.draws,
            "seed": self.asked.seed,
            "precision": self.precision,
        }

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "key": self.space.key,
            **self._parts(),
            "chosen": self.chosen,
            "folder": str(self.folder.absolute()),
        }

    def load(self) -> None:
        """Read the weights, if they are not read yet.

        Raises:
            ArtefactError: They do not fit what the folder says of them.
        """
        self.taps()

    def taps(self) -> Taps:
        """The network, ready to run; raises what `load` raises."""
        with self._loading:
            if self._taps is None:
                where = devices.pick(self.device)
                network = saved.load(self.folder).requires_grad_(False).to(where)
                if where != "cpu":  # threads take turns on a GPU, and it wants more at once
                    self._turn, self.batch = threading.Lock(), GPU_BATCH
                self._taps = Taps(network)
            return self._taps

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        return self.pixels.prepare(image)

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        taps = self.taps()
        with self._turn, torch.inference_mode():
            x = torch.from_numpy(np.array(batch))
            found: Features = features(taps, x, self.asked.points, self.reading).numpy()
        return found


def open_folder(name: str, device: str = "auto", precision: str = "float32") -> Embeds:
    """The encoder called `diffusion:PATH` or `diffusion:PATH@SETTINGS`.

    Of a model of ilk it reads the folder's JSON only; a checkpoint of diffusers is read at once.
    Raises what `Asked.read`, `DiffusionFeatures` and `CheckpointFeatures` raise.
    """
    asked = Asked.read(name)
    if foreign(home_of(asked.path)):
        from ilk.diffusion.checkpoint_encoder import CheckpointFeatures

        return CheckpointFeatures(asked, device, precision)
    return DiffusionFeatures(asked, device, precision)
