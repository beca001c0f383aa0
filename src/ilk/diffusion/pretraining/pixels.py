"""Load images from the store as the pixels that a diffusion network takes."""

from __future__ import annotations

import numpy as np
import torch

from ilk.core.errors import NoImages
from ilk.core.progress import Progress, silent_progress
from ilk.encode import Failures, encode_images
from ilk.images import Images
from ilk.images.pixels import PixelEncoder
from ilk.store import Store
from ilk.training.trainer import Batch


def choose_pixels(images: Images, size: int = 0, channels: int = 0) -> PixelEncoder:
    """Return square pixels for `images`: of `size`, or of their median short side up to 32.

    The size is rounded down to a multiple of 4 if possible, so that a network can halve it twice.
    """
    fitted = PixelEncoder.from_rows(images.used)
    side = size or (fitted.height - fitted.height % 4 or fitted.height)
    return PixelEncoder(side, side, channels or fitted.channels)


def load_batch(
    images: Images,
    classes: tuple[str, ...],
    pixels: PixelEncoder,
    store: Store,
    progress: Progress = silent_progress,
) -> tuple[Batch, Images, Failures]:
    """Load every used image as 8-bit pixels with its index in `classes` (-1: no or another label).

    Returns:
        The batch `[n, c, h, w]` uint8, its rows in order, and decoding failures by digest.

    Raises:
        NoImages: No image can be read.
    """
    failures = encode_images(images, [pixels], store, progress=progress)
    readable = images.refuse(failures)
    if not readable.used:
        raise NoImages("no image can be read; `ilk check` says what is wrong with each")
    rows = store.get(pixels.space, [row.digest for row in readable.used])
    x = torch.from_numpy(np.rint(rows * 255).astype(np.uint8))
    x = x.view(-1, pixels.channels, pixels.height, pixels.width)
    class_index = {name: i for i, name in enumerate(classes)}
    y = torch.tensor(
        [class_index.get(row.label or "", -1) for row in readable.used], dtype=torch.int64
    )
    return Batch(x, y), readable, failures
