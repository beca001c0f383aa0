"""Near-duplicates by thumbnails in any of the eight orientations of a rectangle.

Every thumbnail is turned and mirrored so that its left and its upper half are the brighter ones and
the change from left to right is the larger. A picture and its mirror image, or one that was turned
by 90°, end in the same orientation, where the search for near-duplicates finds them as it finds
others (`ilk.images.duplicates.near_duplicates`). Where a picture is nearly balanced, its copy may
end in another orientation and is missed here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.images.duplicates.near_duplicates import find_near_duplicates
from ilk.images.duplicates.perceptual_hash import LUMINANCE, Thumbnails
from ilk.images.inspection.pixel_summary import SIDE

Positions = NDArray[np.int64]
UPRIGHT = 0


def find_oriented_pairs(thumbnails: Thumbnails) -> tuple[Positions, Positions, Positions]:
    """Return pairs of pictures that are nearly the same, each once, and how they are oriented.

    Args:
        thumbnails: As in `ilk.images.inspection.pixel_summary`, `[n, SIDE, SIDE, 3]`.

    Returns:
        First and second of each pair, `[m]`, the first the lower position, and the orientation in
        which each is to be compared, `[m, 2]`, see `orient`; those of a pair that is nearly the
        same as it is are `UPRIGHT`.
    """
    code = find_orientations(thumbnails)
    turned = thumbnails.copy()
    for c in np.unique(code):
        members = code == c
        turned[members] = orient(np.moveaxis(thumbnails[members], 0, -1), int(c)).transpose(
            3, 0, 1, 2
        )
    keys: dict[tuple[int, int], tuple[int, int]] = {}
    for used, codes in ((thumbnails, np.zeros_like(code)), (turned, code)):
        found = find_near_duplicates(used)
        for i, j in zip(found.first.tolist(), found.second.tolist(), strict=True):
            keys.setdefault((min(i, j), max(i, j)), (int(codes[min(i, j)]), int(codes[max(i, j)])))
    pairs = np.array(list(keys), np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1], np.array(list(keys.values()), np.int64).reshape(-1, 2)


def find_orientations(thumbnails: Thumbnails) -> Positions:
    """Return the orientation of each thumbnail `[n, SIDE, SIDE, 3]` in which halves are ordered.

    `[n]`, from 0 to 7: 1 where it is mirrored, plus 2 where it is upside down, plus 4 where rows
    then become columns.
    """
    grey = thumbnails.astype(np.float32) @ LUMINANCE
    ramp = np.linspace(1, -1, SIDE, dtype=np.float32)
    across, down = (grey @ ramp).sum(1), np.einsum("nij,i->n", grey, ramp)
    return np.asarray(
        (across < 0) * 1 + (down < 0) * 2 + (np.abs(down) > np.abs(across)) * 4, np.int64
    )


def orient(pixels: NDArray[np.uint8], code: int) -> NDArray[np.uint8]:
    """Return pixels `[h, w, ...]` in an orientation of `find_orientations`."""
    if code & 1:
        pixels = pixels[:, ::-1]
    if code & 2:
        pixels = pixels[::-1]
    if code & 4:
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels)
