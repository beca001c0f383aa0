"""Write generated images to files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ilk.core.atomic_write import write_atomically
from ilk.core.errors import InputError, OutputError, UnknownName
from ilk.core.folder_transaction import FolderTransaction, lock_folder
from ilk.diffusion.generation.sample import make_grid
from ilk.images import match_class_names

SOFTWARE = "ilk draw"
HEAD_BYTES = 4096  # in which a PNG file states its software
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


def check_samples_path(out: Path, n: int) -> None:
    """Check that `n` images can be written to `out` and replace none but images that ilk drew.

    Raises:
        InputError: `out` has the extension of another image format.
        OutputError: A file of that name is not an image that ilk drew, or a file is in the way.
    """
    if out.suffix.lower() in OTHER_FORMATS:
        raise InputError(
            f"{out} is not a PNG file; give a file name that ends in .png, or a folder"
        )
    is_file = out.suffix.lower() == ".png"
    for file in [out] if is_file else [out / f"{i:05d}.png" for i in range(n)]:
        if file.exists() and not is_drawn(file):
            raise OutputError(
                f"{file} exists and was not drawn by ilk; remove it, or choose another location "
                "with --out"
            )


def encode_drawn(image: Image.Image) -> bytes:
    """Return a PNG file that says that ilk drew it (keyword Software, PNG 11.3.4.2)."""
    info, content = PngInfo(), io.BytesIO()
    info.add_text("Software", SOFTWARE)
    image.save(content, "PNG", pnginfo=info)
    return content.getvalue()


def is_drawn(file: Path) -> bool:
    """Whether a file has the mark of `encode_drawn`."""
    try:
        with file.open("rb") as stream:
            return b"tEXtSoftware\0" + SOFTWARE.encode() in stream.read(HEAD_BYTES)
    except OSError:
        return False


def _encode(samples: Tensor, columns: int) -> bytes:
    """Return a PNG file with a grid of images `[n, c, h, w]` in [-1, 1]."""
    return encode_drawn(pixels_to_pil(make_grid(samples, columns)))


def write_samples(samples: Tensor, out: Path) -> Path:
    """Write images `[n, c, h, w]` in [-1, 1] as a grid if `out` ends in .png, else to one file
    each.

    Raises:
        InputError: `out` has the extension of another image format.
        OutputError: `out` cannot be written, or would replace an image that ilk did not draw.
    """
    check_samples_path(out, len(samples))
    try:
        if out.suffix.lower() == ".png":
            out.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(out, _encode(samples, round(len(samples) ** 0.5)))
            return out
        with lock_folder(out):
            change = FolderTransaction(out)
            for i, sample in enumerate(samples):
                change.write(f"{i:05d}.png", _encode(sample[None], 1))
            change.commit()
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error}; choose another location") from error
    return out
