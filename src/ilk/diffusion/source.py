"""Where a diffusion classifier's network comes from: pretrained by ilk, or saved by diffusers."""

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

from ilk.diffusion import cheap, optimised_noise, saved, seen
from ilk.diffusion import trial as trials
from ilk.diffusion.chosen import check, chosen
from ilk.diffusion.contract import Denoises, unit
from ilk.diffusion.places import files, folder, foreign
from ilk.diffusion.seen import Seen
from ilk.diffusion.trial import Trial
from ilk.encoders import device as devices
from ilk.encoders.address import file_digest
from ilk.encoders.among import Among
from ilk.encoders.pixels import Pixels as Squashed
from ilk.errors import InputError

Pixels = NDArray[np.uint8]
BESIDE = {  # what scores by a strategy hang on, beside the network
    "race": (seen.FILE, trials.FILE),
    "naive": (seen.FILE, trials.FILE),
    "staged": (seen.FILE,),
    "noise": (optimised_noise.JSON, optimised_noise.ARRAYS),
}


class Source(Protocol):
    """A network, the pictures that it takes, and what it learnt from."""

    @property
    def classes(self) -> tuple[str, ...]:
        """What is chosen among."""

    @property
    def seen(self) -> Seen:
        """What it learnt from with labels, as far as is known."""

    @property
    def trial(self) -> Trial | None:
        """Errors of labelled images that it did not learn from."""

    def digests(self, strategy: str) -> list[str]:
        """Of all files that scores by `strategy` hang on."""

    @property
    def precision(self) -> str:
        """What to compute its network in."""

    def prepare(self, image: Image.Image) -> Pixels:
        """What it sees of an RGB image, `[c, h, w]`."""

    def clean(self, batch: Pixels) -> Tensor:
        """Prepared images as its network takes them, before any noise."""

    def network(self, part: int) -> Denoises:
        """The network that left `part` out; -1 is the one of all."""


class Pretrained:
    """A folder that `ilk pretrain` wrote.

    Raises:
        ArtefactError: It holds no diffusion model of ilk.
        InputError: The model knows no classes, or not those that are chosen among.
    """

    def __init__(self, home: Path, among: Among, device: str, precision: str) -> None:
        self.home, self.precision = home, precision
        self.where = device
        self.build = saved.read(home)
        if not self.build.classes:
            raise InputError(
                f"{home} was pretrained without labels, so it cannot tell classes apart; "
                f"take its features, --encoder diffusion:{home}, or pretrain on labelled images"
            )
        check(self.build.classes, among.classes or ())
        self.classes = tuple(among.classes or self.build.classes)
        channels, height, width = self.build.shape
        self.pixels = Squashed(height, width, channels)

    @cached_property
    def seen(self) -> Seen:
        return seen.load(self.home)

    @cached_property
    def trial(self) -> Trial | None:
        found = trials.load(self.home)
        return found and found.only([self.build.classes.index(name) for name in self.classes])

    def digests(self, strategy: str) -> list[str]:
        own = [self.home / name for name in (saved.JSON, saved.ARRAYS, *BESIDE.get(strategy, ()))]
        own += [folder(self.home, part) / cheap.FILE for part in range(-1, self.seen.folds)]
        crossings = [] if strategy == "noise" else files(self.home, self.seen.folds)
        held = [*own, *crossings]
        return [file_digest(path) for path in held if path.exists()]

    def prepare(self, image: Image.Image) -> Pixels:
        return self.pixels.prepare(image)

    def clean(self, batch: Pixels) -> Tensor:
        return unit(torch.from_numpy(np.array(batch)))

    def network(self, part: int) -> Denoises:
        whole = saved.load(folder(self.home, part)).to(devices.pick(self.where))
        return chosen(whole, self.classes)


class Checkpoint:
    """A folder that diffusers wrote; its network is read at once.

    Raises:
        Unavailable: diffusers is not installed, or files are missing.
        InputError: It is of a family that cannot be read, or does not go with the classes.
    """

    seen = Seen(np.zeros(0, np.int64), np.zeros(0, np.int64))
    trial = None
    precision = "float32"  # the network is already in the precision that was asked for

    def __init__(self, home: Path, among: Among, device: str, precision: str) -> None:
        from ilk.diffusion.hub import open_folder

        self.opened = open_folder(
            home, among.classes, among.prompts, devices.pick(device), precision, among.store
        )
        self.store = among.store
        self.classes = self.opened.network.classes
        if not self.classes:
            raise InputError(
                f"{home} was trained without classes, so it cannot tell any apart; "
                "take a class-conditional or text-to-image checkpoint"
            )
        self.told = [*self.classes, *among.prompts]
        channels = self.opened.network.shape[0]
        self.pixels = Squashed(self.opened.side, self.opened.side, channels)

    def digests(self, strategy: str) -> list[str]:
        return [self.opened.digest, *self.told]

    def prepare(self, image: Image.Image) -> Pixels:
        return (self.opened.latents or self.pixels).prepare(image)

    def clean(self, batch: Pixels) -> Tensor:
        latents = self.opened.latents
        if latents is None:
            return unit(torch.from_numpy(np.array(batch)))
        if self.store is None:
            return latents.unflatten(latents.embed(batch))
        digests = [hashlib.sha256(x.tobytes()).hexdigest() for x in batch]
        lacking = set(self.store.missing(latents.space, digests))
        at = [i for i, digest in enumerate(digests) if digest in lacking]
        if at:
            self.store.put(latents.space, [digests[i] for i in at], latents.embed(batch[at]))
        return latents.unflatten(self.store.get(latents.space, digests))

    def network(self, part: int) -> Denoises:
        return self.opened.network


def source(home: Path, among: Among, device: str, precision: str) -> Source:
    """What lies in `home`, as what it is; reads of a diffusers checkpoint need that package."""
    kind = Checkpoint if foreign(home) else Pretrained
    return kind(home, among, device, precision)
