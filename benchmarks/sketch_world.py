"""Digits as photos and as sketches: one instance, two domains.

A photo is a digit of MNIST, thickened, blurred, in a colour on a coloured uneven ground. Its sketch
is the digit's skeleton, bent by a smooth random displacement, with a gap, in thin strokes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import read_mnist

Images = NDArray[np.float32]
SIDE, INK = 28, 0.4


def make_photos(digits: Images, rng: np.random.Generator) -> Images:
    """Return photos `[n, 3, 28, 28]` in [0, 1] of digits `[n, 28, 28]`."""
    from scipy.ndimage import gaussian_filter, grey_dilation

    n = len(digits)
    thick = gaussian_filter(grey_dilation(digits, (1, 2, 2)), (0, 0.8, 0.8))[:, None]
    ink = rng.uniform(0.5, 1, (n, 3, 1, 1))
    coarse = rng.random((n, 1, 4, 4)).repeat(7, 2).repeat(7, 3)
    ground = rng.uniform(0, 0.4, (n, 3, 1, 1)) + 0.2 * gaussian_filter(coarse, (0, 0, 2, 2))
    noise = 0.05 * rng.standard_normal((n, 3, SIDE, SIDE))
    return np.clip(ground + thick * (ink - ground) + noise, 0, 1).astype(np.float32)


def make_sketches(digits: Images, rng: np.random.Generator, wobble: float = 1.5) -> Images:
    """Return sketches `[n, 28, 28]` in [0, 1] of digits `[n, 28, 28]`.

    Args:
        digits: Grey digits.
        rng: Draws displacement and gap.
        wobble: Typical displacement, in pixels; 0 draws neither displacement nor gap.
    """
    from scipy.ndimage import gaussian_filter, map_coordinates

    skeleton = thin(digits > INK).astype(np.float32)
    n = len(skeleton)
    grid = np.mgrid[:SIDE, :SIDE][:, None].astype(np.float64)
    if wobble:
        shift = gaussian_filter(rng.standard_normal((2, n, SIDE, SIDE)), (0, 0, 4, 4))
        grid = grid + wobble * shift / shift.std()
        centre = rng.uniform(6, 22, (2, n, 1, 1))
        rows, columns = np.mgrid[:SIDE, :SIDE]
        skeleton *= (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 > 2.5**2
    soft = gaussian_filter(skeleton, (0, 0.5, 0.5))
    bent = [
        map_coordinates(image, grid[:, i % grid.shape[1]], order=1) for i, image in enumerate(soft)
    ]
    return np.asarray(np.clip(1.6 * np.stack(bent), 0, 1), np.float32)


def draw_edges(photos: Images) -> Images:
    """Return the strength of edges of photos `[n, 3, 28, 28]` as sketches `[n, 28, 28]`."""
    from scipy.ndimage import gaussian_filter, sobel

    grey = gaussian_filter(photos.mean(1), (0, 0.7, 0.7))
    strength = np.hypot(sobel(grey, 1), sobel(grey, 2))
    highest = np.quantile(strength, 0.97, axis=(1, 2), keepdims=True)
    return np.asarray(np.clip(strength / np.maximum(highest, 1e-6), 0, 1) ** 2, np.float32)


def draw_skeletons(photos: Images) -> Images:
    """Return skeletons `[n, 28, 28]` of what is far from the ground in photos `[n, 3, 28, 28]`."""
    from scipy.ndimage import gaussian_filter

    ground = np.median(photos, axis=(2, 3), keepdims=True)
    contrast = gaussian_filter(np.linalg.norm(photos - ground, axis=1), (0, 0.7, 0.7))
    highest = contrast.max((1, 2), keepdims=True)
    skeleton = thin(contrast > 0.5 * highest).astype(np.float32)
    return np.asarray(np.clip(1.6 * gaussian_filter(skeleton, (0, 0.5, 0.5)), 0, 1), np.float32)


def thin(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the skeletons of masks `[n, h, w]`.

    T. Y. Zhang, C. Y. Suen, 1984, A Fast Parallel Algorithm for Thinning Digital Patterns.
    """
    mask = np.pad(mask, ((0, 0), (1, 1), (1, 1)))
    offsets = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
    while True:
        before = mask
        for first, second in (((0, 2, 4), (2, 4, 6)), ((0, 2, 6), (0, 4, 6))):
            around = np.stack([np.roll(mask, (-r, -c), (1, 2)) for r, c in offsets])
            neighbours = around.sum(0)
            rises = (~around & np.roll(around, -1, 0)).sum(0)
            goes = mask & (neighbours >= 2) & (neighbours <= 6) & (rises == 1)
            goes &= ~around[list(first)].all(0) & ~around[list(second)].all(0)
            mask = mask & ~goes
        if np.array_equal(mask, before):
            return mask[:, 1:-1, 1:-1]


def read_instances(part: str, n: int, rng: np.random.Generator) -> Images:
    """Return `n` random digits of MNIST's training or test part, `[n, 28, 28]` in [0, 1]."""
    x = read_mnist(part).x
    return x[rng.permutation(len(x))[:n]].reshape(-1, SIDE, SIDE)
