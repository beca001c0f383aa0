"""Draw a map over its picture: orange supports the target, blue speaks against it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.explain.contract import Map

SUPPORTS, AGAINST = (230, 97, 1), (33, 102, 172)  # told apart by readers who are colour-blind
MIN_SIDE = 224  # pixels of the drawing
FADE = 0.55  # of the colour of the picture, so that the map's colours stand out
CLIP = 99.0  # percentile of the absolute values that gets the full colour


def draw_map(picture: NDArray[np.uint8], values: Map) -> Image.Image:
    """Return an RGB drawing of a map `[h, w]` over an RGB picture `[h, w, 3]`, not too small."""
    top = float(np.percentile(np.abs(values), CLIP)) or float(np.abs(values).max()) or 1.0
    strength = np.clip(np.abs(values) / top, 0, 1)[..., None]
    colour = np.where(values[..., None] >= 0, SUPPORTS, AGAINST).astype(np.float64)
    grey = picture.mean(2, keepdims=True)
    faded = 255 - FADE * (255 - (0.5 * grey + 0.5 * picture))
    drawn = (1 - 0.8 * strength) * faded + 0.8 * strength * colour
    return enlarge(Image.fromarray(np.round(drawn).astype(np.uint8)))


def enlarge(image: Image.Image) -> Image.Image:
    """Return an image whose longer side has at least `MIN_SIDE` pixels, enlarged without blur."""
    factor = -(-MIN_SIDE // max(image.size))
    if factor <= 1:
        return image
    size = (image.width * factor, image.height * factor)
    return image.resize(size, Image.Resampling.NEAREST)
