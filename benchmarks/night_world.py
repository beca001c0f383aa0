"""Drawings by day and by night: a shift of images with spatial structure.

By day, a character of Omniglot is bright, a little blurred, on a faint uneven ground. By night it
is lit from one side, dimmed by a gamma, noisy, and there are lamps: spots as bright as ink. No
curve of brightness, the same for all pixels, makes one of the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import read_omniglot

Images = NDArray[np.float32]
SIDE, BLUR = 28, 0.7


def render_day(ink: Images, rng: np.random.Generator) -> Images:
    """Return drawings `[n, 28, 28]` in [0, 1] by day, of ink `[n, 28, 28]` in [0, 1]."""
    from scipy.ndimage import gaussian_filter

    blurred = gaussian_filter(ink, (0, BLUR, BLUR))
    blurred /= np.maximum(blurred.max((1, 2), keepdims=True), 1e-6)
    coarse = rng.random((len(ink), 4, 4)).repeat(7, 1).repeat(7, 2)
    ground = 0.25 * gaussian_filter(coarse, (0, 2, 2))
    contrast = rng.uniform(0.6, 1.0, (len(ink), 1, 1))
    return np.asarray(np.clip(ground + contrast * blurred * (1 - ground), 0, 1), np.float32)


def render_night(day: Images, rng: np.random.Generator) -> Images:
    """Return images `[n, 28, 28]` in [0, 1] by night, of images by day."""
    n = len(day)
    rows, columns = np.mgrid[:SIDE, :SIDE] / (SIDE - 1)
    angle = rng.uniform(0, 2 * np.pi, (n, 1, 1))
    side = (rows - 0.5) * np.sin(angle) + (columns - 0.5) * np.cos(angle)
    light = np.clip(0.6 + 0.7 * side, 0.2, 1)
    dark = (light * day) ** 1.3
    for _ in range(2):
        centre = rng.uniform(0, 1, (2, n, 1, 1))
        width = rng.uniform(0.03, 0.07, (n, 1, 1))
        distance = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2
        dark = np.maximum(dark, rng.uniform(0.5, 1, (n, 1, 1)) * np.exp(-distance / width**2 / 2))
    noisy = dark + 0.03 * rng.standard_normal(day.shape)
    return np.asarray(np.clip(noisy, 0, 1), np.float32)


def darken(day: Images, rng: np.random.Generator) -> Images:
    """Return images by day darkened by hand: a gamma of 1.5 to 4 and a factor, per image."""
    gamma = rng.uniform(1.5, 4, (len(day), 1, 1))
    return (rng.uniform(0.4, 1, (len(day), 1, 1)) * day**gamma).astype(np.float32)


def match_histograms(day: Images, night: Images, rng: np.random.Generator) -> Images:
    """Return each image of `day [n, h, w]` with the sorted values of a random one of `night`."""
    flat = day.reshape(len(day), -1)
    values = np.sort(night.reshape(len(night), -1)[rng.integers(0, len(night), len(day))], 1)
    ranks = flat.argsort(1, kind="stable").argsort(1, kind="stable")
    return np.take_along_axis(values, ranks, 1).reshape(day.shape).astype(np.float32)


def equalize_adaptively(x: Images, clip: float = 0.03) -> Images:
    """Return images with contrast-limited adaptive equalization of histograms, in 4 x 4 tiles.

    Karel Zuiderveld, 1994, Contrast Limited Adaptive Histogram Equalization: the curves of the
    tiles are mixed bilinearly.
    """
    bins, tiles = 32, 4
    index = np.minimum((x * bins).astype(int), bins - 1)
    curves = np.zeros((len(x), tiles, tiles, bins))
    side = SIDE // tiles
    for i in range(tiles):
        for j in range(tiles):
            tile = index[:, i * side : (i + 1) * side, j * side : (j + 1) * side].reshape(
                len(x), -1
            )
            counts = np.stack([(tile == b).mean(1) for b in range(bins)], 1)
            excess = np.maximum(counts - clip * 4, 0).sum(1, keepdims=True)
            curves[:, i, j] = np.cumsum(np.minimum(counts, clip * 4) + excess / bins, 1)
    place = np.clip((np.arange(SIDE) + 0.5) / side - 0.5, 0, tiles - 1)
    low = np.minimum(place.astype(int), tiles - 2)
    part = place - low
    image = np.arange(len(x))[:, None, None]
    out = np.zeros(x.shape)
    for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = (part if a else 1 - part)[:, None] * (part if b else 1 - part)[None]
        out += weight * curves[image, (low + a)[:, None], (low + b)[None], index]
    return out.astype(np.float32)


def read_ink(part: int) -> tuple[Images, NDArray[np.int64]]:
    """Return the ink of Omniglot's small set `part`, `[n, 28, 28]`, and the character of each."""
    data = read_omniglot(part)
    return data.x.reshape(-1, SIDE, SIDE), data.y
