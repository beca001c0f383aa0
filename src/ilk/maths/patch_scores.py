"""Patches of images: their whitening, and their scores by a memory of normal patches.

`ilk.detectors.patch_memory` has the source and the equations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features
from ilk.core.errors import InputError
from ilk.maths.nearest_entries import find_nearest, weigh_by_neighbours

CHUNK_PATCHES = 4096  # patches compared with the memory at a time

Vector = NDArray[np.float64]


def fit_whitening(patches: Features, shrinkage: float | None) -> tuple[Features, Features]:
    """Return the mean `[c]` of patches, and the matrix `[c, c]` that whitens centred ones.

    Args:
        patches: Features of patches, `[n, c]`.
        shrinkage: Added to the variance of every direction, as a fraction of the mean variance,
            > 0; None returns the identity.
    """
    centre = patches.mean(0, dtype=np.float64)
    if shrinkage is None:
        return centre.astype(np.float32), np.eye(patches.shape[1], dtype=np.float32)
    z = patches - centre
    variance, axes = np.linalg.eigh(z.T @ z / len(z))
    floor = shrinkage * max(float(variance.mean()), float(np.finfo(np.float32).tiny))
    scale = np.sqrt(np.maximum(variance, 0) + floor)
    return centre.astype(np.float32), (axes / scale).astype(np.float32)


def split_patches(x: Features, height: int, width: int) -> Features:
    """Return rows `[n, height width c]` as patches `[n, height width, c]`.

    Raises:
        InputError: The rows do not divide into patches.
    """
    n_patches = height * width
    if x.shape[1] == 0 or x.shape[1] % n_patches:
        raise InputError(
            f"PatchMemory reads {height} x {width} patches, and rows of {x.shape[1]} features do "
            "not divide into them; pass the grid of the encoder as height and width"
        )
    return x.reshape(len(x), n_patches, x.shape[1] // n_patches)


def score_patches(
    x: Features,
    memory: Features,
    centre: Features,
    whitening: Features,
    grid: tuple[int, int],
    neighbours: int,
) -> tuple[Vector, Features]:
    """Return scores `[n]` and maps `[n, height, width]` of images.

    Args:
        x: Patches of each image, `[n, height width c]`.
        memory: Centred and whitened patches of normal images, `[p, c]`.
        centre: Mean of the features of normal patches, `[c]`.
        whitening: Maps centred features to those of the memory, `[c, c]`.
        grid: Height and width, in patches.
        neighbours: Entries near the nearest one that a score is weighed with.

    Raises:
        InputError: The rows do not divide into patches, or patches have another number of features.
    """
    patches = split_patches(np.asarray(x, np.float32), *grid)
    n_patches = patches.shape[1]
    if len(patches) and patches.shape[2] != len(centre):
        raise InputError(
            f"PatchMemory learned from patches of {len(centre)} features, and these have "
            f"{patches.shape[2]}; use the encoder that it was fitted with"
        )
    scores = np.zeros(len(patches))
    maps = np.zeros((len(patches), n_patches), np.float32)
    step = max(1, CHUNK_PATCHES // n_patches)
    for at in range(0, len(patches), step):
        centred = patches[at : at + step] - centre
        block = np.asarray(centred @ whitening, np.float32)
        nearest, distance = find_nearest(block.reshape(-1, block.shape[2]), memory)
        maps[at : at + step] = distance.reshape(len(block), n_patches)
        for i, image in enumerate(block):
            best = int(np.argmax(maps[at + i]))
            weight = weigh_by_neighbours(
                image[best], memory, int(nearest[i * n_patches + best]), neighbours
            )
            scores[at + i] = weight * float(maps[at + i, best])
    return scores, maps.reshape(-1, *grid)
