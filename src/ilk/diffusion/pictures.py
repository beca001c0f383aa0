"""Drawn images as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ilk.diffusion.sample import sheet
from ilk.errors import InputError, OutputError, UnknownName

OTHER = (".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def asked(classes: tuple[str, ...], name: str, n: int) -> Tensor:
    """Class indices of n pictures: all of class `name`, else every class in turn, `[n]`.

    Raises:
        InputError: n is below 1, or the network takes no class.
        UnknownName: It knows no such class.
    """
    if n < 1:
        raise InputError(f"{n} pictures are none; ask for at least 1")
    if name and not classes:
        raise InputError(f"this network was trained without classes, so it cannot draw {name!r}")
    if name and name not in classes:
        raise UnknownName("class", name, classes)
    if name:
        return torch.full((n,), classes.index(name))
    return torch.arange(n) % len(classes) if classes else torch.full((n,), -1)


def picture(pixels: Tensor) -> Image.Image:
    """`[h, w, c]` uint8, of 1 or 3 channels, as a picture; of more, the first three."""
    grey = pixels.shape[2] < 3
    return Image.fromarray(np.asarray(pixels[..., 0] if grey else pixels[..., :3].contiguous()))


def images(drawn: Tensor) -> list[Image.Image]:
    """Images `[n, c, h, w]` in [-1, 1] as RGB pictures."""
    return [picture(sheet(one[None], 1)).convert("RGB") for one in drawn]


def write(drawn: Tensor, out: Path) -> Path:
    """Images `[n, c, h, w]` in [-1, 1] on one sheet if `out` ends in .png, else a file each.

    Raises:
        InputError: `out` is called like a picture that is no PNG.
        OutputError: `out` cannot be written.
    """
    if out.suffix.lower() in OTHER:
        raise InputError(f"{out} is no PNG; name a file that ends in .png, or a folder")
    try:
        if out.suffix.lower() == ".png":
            out.parent.mkdir(parents=True, exist_ok=True)
            picture(sheet(drawn, round(len(drawn) ** 0.5))).save(out)
            return out
        out.mkdir(parents=True, exist_ok=True)
        for i, one in enumerate(drawn):
            picture(sheet(one[None], 1)).save(out / f"{i:05d}.png")
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error}; name another place") from error
    return out
