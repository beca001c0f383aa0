"""Images as a diffusion network takes them, by way of the store."""

from __future__ import annotations

import numpy as np
import torch

from ilk.encode import Failures, fill
from ilk.encoders.pixels import Pixels
from ilk.errors import NoImages
from ilk.images import Images
from ilk.progress import Progress, silent
from ilk.store import Store
from ilk.training.loop import Batch


def grain(images: Images, size: int = 0, channels: int = 0) -> Pixels:
    """Square pixels that suit `images`: of `size`, else of their median short side up to 32.

    The chosen side is rounded down to a multiple of 4, as far as that leaves anything, so that a
    network can halve it twice.
    """
    fit = Pixels.fitting(images.used)
    side = size or (fit.height - fit.height % 4 or fit.height)
    return Pixels(side, side, channels or fit.channels)


def load(
    images: Images,
    classes: tuple[str, ...],
    pixels: Pixels,
    store: Store,
    progress: Progress = silent,
) -> tuple[Batch, Images, Failures]:
    """Every used image as 8-bit pixels, with its index in `classes` (-1: no label, or another).

    Returns:
        The batch `[n, c, h, w]` uint8, the rows it was made of, in its order, and what could not
        be decoded, by digest.

    Raises:
        NoImages: None is left.
    """
    failures = fill(images, [pixels], store, progress=progress)
    kept = images.refuse(failures)
    if not kept.used:
        raise NoImages("no image can be read; `ilk check` says what is wrong with each")
    rows = store.get(pixels.space, [row.digest for row in kept.used])
    x = torch.from_numpy(np.rint(rows * 255).astype(np.uint8))
    x = x.view(-1, pixels.channels, pixels.height, pixels.width)
    at = {name: i for i, name in enumerate(classes)}
    y = torch.tensor([at.get(row.label or "", -1) for row in kept.used], dtype=torch.int64)
    return Batch(x, y), kept, failures
