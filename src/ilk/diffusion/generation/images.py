"""Write generated images to files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ilk.core.errors import InputError, OutputError, UnknownName
from ilk.diffusion.generation.sample import make_grid
from ilk.images import match_class_names

OTHER_FORMATS = (".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def assign_classes(classes: tuple[str, ...], name: str, n: int) -> Tensor:
    """Return class indices `[n]` of n images: all of class `name`, or every class in turn.

    Raises:
        InputError: n is below 1, or the network has no classes.
        UnknownName: The class is unknown.
    """
    if n < 1:
        raise InputError(f"{n} images are requested; give at least 1")
    if name and not classes:
        raise InputError(
            f"this network was trained without classes, so it cannot generate {name!r}"
        )
    name = match_class_names([name], classes).get(name, name)
    if name and name not in classes:
        raise UnknownName("class", name, classes)
    if name:
        return torch.full((n,), classes.index(name))
    return torch.arange(n) % len(classes) if classes else torch.full((n,), -1)


def pixels_to_pil(pixels: Tensor) -> Image.Image:
    """Convert `[h, w, c]` uint8 to an image; of more than 3 channels, the first three."""
    grey = pixels.shape[2] < 3
    return Image.fromarray(np.asarray(pixels[..., 0] if grey else pixels[..., :3].contiguous()))


def samples_to_pil(samples: Tensor) -> list[Image.Image]:
    """Convert images `[n, c, h, w]` in [-1, 1] to RGB images."""
    return [pixels_to_pil(make_grid(sample[None], 1)).convert("RGB") for sample in samples]


def write_samples(samples: Tensor, out: Path) -> Path:
    """Write images `[n, c, h, w]` in [-1, 1] as a grid if `out` ends in .png, else to one file
    each.

    Raises:
        InputError: `out` has the extension of another image format.
        OutputError: `out` cannot be written.
    """
    if out.suffix.lower() in OTHER_FORMATS:
        raise InputError(f"{out} is no PNG; give a file name that ends in .png, or a folder")
    try:
        if out.suffix.lower() == ".png":
            out.parent.mkdir(parents=True, exist_ok=True)
            pixels_to_pil(make_grid(samples, round(len(samples) ** 0.5))).save(out)
            return out
        out.mkdir(parents=True, exist_ok=True)
        for i, sample in enumerate(samples):
            pixels_to_pil(make_grid(sample[None], 1)).save(out / f"{i:05d}.png")
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error}; choose another location") from error
    return out
