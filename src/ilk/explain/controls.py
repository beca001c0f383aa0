"""Maps that know nothing of the answer: random fields, the centre, edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.explain.contract import Map
from ilk.explain.windows import resize_map

FIELD_SIDE = 7  # random values along a side; neighbours are blended


def draw_random_map(shape: tuple[int, int], rng: np.random.Generator) -> Map:
    """Return a smooth random field `[h, w]`: blobs as large as those of most maps.

    Independent pixels would be too easy to beat: a map with blobs takes whole parts away.
    """
    return resize_map(rng.standard_normal((FIELD_SIDE, FIELD_SIDE)), shape)


def make_centre_map(shape: tuple[int, int]) -> Map:
    """Return minus the distance from the middle, in half sides: photos are framed that way."""
    y, x = (np.linspace(-1, 1, length) for length in shape)
    return np.asarray(-np.hypot(y[:, None], x[None, :]), np.float32)


def make_edge_map(picture: NDArray[np.uint8]) -> Map:
    """Return the Sobel magnitude of an RGB picture `[h, w, 3]`, from its mean over channels.

    Irwin Sobel, 1968; on digits and other drawings a strong map that knows no class.
    """
    grey = np.pad(picture.mean(2), 1, mode="edge")
    smooth_y = grey[:-2] + 2 * grey[1:-1] + grey[2:]
    smooth_x = grey[:, :-2] + 2 * grey[:, 1:-1] + grey[:, 2:]
    across = smooth_y[:, 2:] - smooth_y[:, :-2]
    down = smooth_x[2:] - smooth_x[:-2]
    return np.asarray(np.hypot(across, down), np.float32)
