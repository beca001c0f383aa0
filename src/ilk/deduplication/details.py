"""Details of pictures, sums of windows by integral images, and correlations."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.float32]  # [h, w], 0 to 255

NO_DETAIL = 1.0  # grey levels: a window with less has no details to compare


def remove_surroundings(pixels: Grey, radius: int) -> Grey:
    """Return pixels `[h, w]` minus the mean of the square of `radius` around each, cut at edges."""
    h, w = pixels.shape
    total = integrate(pixels)
    (top, bottom), (left, right) = _find_edges(h, radius), _find_edges(w, radius)
    rows = total[bottom] - total[top]
    sums = rows[:, right] - rows[:, left]
    count = (bottom - top)[:, None] * (right - left)
    return np.asarray(pixels - sums / count, np.float32)


@lru_cache(maxsize=1024)
def _find_edges(n: int, radius: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    place = np.arange(n)
    return np.maximum(place - radius, 0), np.minimum(place + radius + 1, n)


def integrate(pixels: Grey) -> NDArray[np.float64]:
    """Return the sums of all pixels above and left of each corner, `[h + 1, w + 1]`."""
    out = np.zeros((pixels.shape[0] + 1, pixels.shape[1] + 1))
    np.cumsum(np.cumsum(pixels, axis=0, dtype=np.float64), axis=1, out=out[1:, 1:])
    return out


def sum_windows(total: NDArray[np.float64], h: int, w: int) -> NDArray[np.float64]:
    """Return the sum of each window of `h` × `w` pixels, `[m, n]`, from those of `integrate`."""
    return np.asarray(total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w])


def correlate(windows: Grey, pixels: Grey) -> NDArray[np.float64]:
    """Return the correlation of each window `[m, h, w]` with pixels `[h, w]`, 0 without details."""
    m, n = len(windows), pixels.size
    own = (pixels - pixels.mean(dtype=np.float64)).astype(np.float32).ravel()
    norm = float(np.sqrt(np.dot(own, own)))
    if norm <= NO_DETAIL * n**0.5:
        return np.zeros(m)
    flat = windows.reshape(m, n)
    mean = flat.mean(1, dtype=np.float64)
    energy = np.einsum("ij,ij->i", flat, flat) - n * mean**2
    return np.asarray(flat @ own / np.sqrt(np.maximum(energy, NO_DETAIL**2 * n)) / norm, float)
