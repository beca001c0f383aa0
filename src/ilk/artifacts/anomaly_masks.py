"""Masks of defects: which pixels of an anomalous image are anomalous.

The layout is that of MVTec AD (Paul Bergmann and others, 2021, doi:10.1007/s11263-020-01400-4):
beside `test/scratch/007.png` lies `ground_truth/scratch/007_mask.png`, white where the image is
anomalous.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.core.errors import InputError
from ilk.images import ImageError, decode, escape_path

GROUND_TRUTH = "ground_truth"
SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg")
LOSSY_SUFFIXES, MIN_LOSSY = (".jpg", ".jpeg"), 128  # whose black is not quite black
MAX_SIDE = 256  # pixels of a mask that are compared with a map, along the longer side

Mask = NDArray[np.bool_]


def find_mask_folder(source: Path) -> Path | None:
    """Return the folder `ground_truth` in or beside the folder of test images, if there is one."""
    for folder in (source, source.parent):
        if (folder / GROUND_TRUTH).is_dir():
            return folder / GROUND_TRUTH
    return None


def find_mask(image: Path, folder: Path) -> Path | None:
    """Return the mask of an image: `KIND/NAME_mask.png` or `KIND/NAME.png`; None without one.

    Args:
        image: The image, whose folder's name is the kind of anomaly.
        folder: Folder of the masks; those of one kind may also lie in it directly.
    """
    for home in (folder / image.parent.name, folder):
        for suffix in (*dict.fromkeys((image.suffix, *SUFFIXES)),):
            for name in (f"{image.stem}_mask{suffix}", f"{image.stem}{suffix}"):
                if (home / name).is_file() and home / name != image:
                    return home / name
    return None


def read_mask(path: Path, size: tuple[int, int]) -> Mask:
    """Return a mask, `[height, width]`, with a longer side of 256 pixels at most.

    Args:
        path: File of the mask.
        size: Width and height of its image.

    Raises:
        InputError: It cannot be read, or has another size than the image.
    """
    try:
        mask = decode(path).convert("L")
    except (ImageError, OSError) as error:
        raise InputError(f"the mask {escape_path(path)} cannot be read: {error}") from None
    if mask.size != size:
        raise InputError(
            f"the mask {escape_path(path)} has {mask.width} x {mask.height} pixels and its image "
            f"{size[0]} x {size[1]}; they must be equal"
        )
    least = MIN_LOSSY if path.suffix.casefold() in LOSSY_SUFFIXES else 1
    return np.asarray(mask.resize(reduce_size(size), Image.Resampling.NEAREST)) >= least


def reduce_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return width and height with a longer side of 256 pixels at most."""
    scale = min(1.0, MAX_SIDE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
