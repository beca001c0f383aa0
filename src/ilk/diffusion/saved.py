"""A denoiser on disk: `diffusion.json` says how it is built, `diffusion.safetensors` holds it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from ilk.diffusion.denoiser import Denoiser
from ilk.diffusion.dit import DiT
from ilk.diffusion.unet import UNet
from ilk.errors import ArtefactError, InputError, OutputError, UnknownName
from ilk.training import checkpoint

VERSION = 1
NETWORKS = {"unet": UNet, "dit": DiT}
JSON, ARRAYS = "diffusion.json", "diffusion.safetensors"


@dataclass(frozen=True)
class Build:
    """All that is needed to build a denoiser but its weights.

    Attributes:
        shape: `(channels, size, size)`.
        classes: Names; may be empty.
        spread: Standard deviation of the data in [-1, 1].
        sigmas: Lowest and highest noise level.
        network: `unet` or `dit`.
        options: Arguments of that network beyond channels, size and classes.
        told: What else a reader should know: recipe, noise, data. Not used to build.
    """

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    spread: float
    sigmas: tuple[float, float]
    network: str = "unet"
    options: dict[str, Any] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)

    def make(self) -> Denoiser:
        """The denoiser, with weights drawn at random (from torch's global generator).

        Raises:
            UnknownName: No network is called so.
            InputError: It has no such option, or cannot take this size.
        """
        if self.network not in NETWORKS:
            raise UnknownName("network", self.network, NETWORKS)
        channels, height, width = self.shape
        if height != width:
            raise InputError(f"images of {height} x {width} are not square; crop or pad them first")
        try:
            trunk: nn.Module = NETWORKS[self.network](
                channels, height, len(self.classes), **self.options
            )
        except TypeError as error:
            raise InputError(f"network {self.network!r} cannot be built: {error}") from None
        return Denoiser(trunk, self.shape, self.classes, self.spread, self.sigmas)


def save(denoiser: Denoiser, build: Build, folder: Path) -> None:
    """Write both files; the JSON last, so that a folder with one is whole.

    Raises:
        OutputError: They cannot be written.
    """
    checkpoint.save(denoiser.state_dict(), folder / ARRAYS, {"format": "ilk diffusion"})
    part = folder / (JSON + ".part")
    try:
        text = json.dumps({"version": VERSION, **asdict(build)}, indent=1, ensure_ascii=False)
        part.write_text(text + "\n", encoding="utf-8")
        os.replace(part, folder / JSON)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error}; name another folder") from error


def read(folder: Path) -> Build:
    """How the denoiser in `folder` is built.

    Raises:
        ArtefactError: There is none, it is of a newer ilk, or its JSON is damaged.
    """
    try:
        told = json.loads((folder / JSON).read_text(encoding="utf-8"))
        version = told.pop("version")
    except FileNotFoundError:
        raise ArtefactError(
            f"{folder} holds no diffusion model of ilk: there is no {JSON} in it; "
            "make one with `ilk pretrain`, or name the folder of a checkpoint that diffusers saved"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(f"{folder / JSON} cannot be read: {error}") from error
    if version != VERSION:
        raise ArtefactError(f"{folder} was made by another ilk (format {version}); update ilk")
    try:
        for name in ("shape", "classes", "sigmas"):
            told[name] = tuple(told[name])
        return Build(**told)
    except (KeyError, TypeError) as error:
        raise ArtefactError(f"{folder / JSON} is not what ilk writes: {error}") from None


def load(folder: Path) -> Denoiser:
    """The denoiser in `folder`, in evaluation mode.

    Raises:
        ArtefactError: There is none, or its arrays do not belong to its JSON.
    """
    build = read(folder)
    try:
        denoiser = build.make()
        arrays, _ = checkpoint.load(folder / ARRAYS)
        denoiser.load_state_dict(arrays)
    except (InputError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise ArtefactError(f"{folder / ARRAYS} does not fit {JSON}: {first}") from error
    return denoiser.eval()
