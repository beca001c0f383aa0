"""A segment of a picture, grown from points: the random walker, without further packages.

Leo Grady, 2006, Random Walks for Image Segmentation, doi:10.1109/TPAMI.2006.233, eq. 1 and 8. A
walker starts at each pixel and steps to neighbours with probability in proportion to

    w_ij = exp(-beta |g_i - g_j|^2),   colours g scaled so that the mean squared difference is 1

A pixel belongs to the segment if the walker more likely meets a point of it before the background.
Departure: beta is a constant for these scaled differences, and large pictures are halved first.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Points = NDArray[np.int64]
BETA = 3.0  # of squared colour differences over their mean
MIN_WEIGHT = 1e-6  # keeps every pixel within reach
MAX_PIXELS = 128 * 128  # unknowns of the linear system


class Segmenter(Protocol):
    """Grows a segment: the random walker, or Segment Anything."""

    def __call__(self, picture: NDArray[np.uint8], points: Points, background: Mask, /) -> Mask:
        """Return a segment `[h, w]` of a picture `[h, w, 3]` that contains the points.

        Args:
            picture: RGB.
            points: Row and column of points inside, `[m, 2]`.
            background: Pixels that are surely outside, `[h, w]`; a segmenter may ignore them.
        """
        ...


def walk_from_points(picture: NDArray[np.uint8], points: Points, background: Mask) -> Mask:
    """Return the segment `[h, w]` of the random walker; see `Segmenter`."""
    height, width = picture.shape[:2]
    step = 1
    while -(-height // step) * -(-width // step) > MAX_PIXELS:
        step += 1
    inside = np.zeros((height, width), np.bool_)
    inside[points[:, 0], points[:, 1]] = True
    small_inside = _any_of_block(inside, step)
    outside = _any_of_block(background & ~inside, step) & ~small_inside
    likely = _solve(picture[::step, ::step].astype(np.float64), small_inside, outside)
    grown = np.repeat(np.repeat(likely > 0.5, step, 0), step, 1)[:height, :width]
    return np.asarray((grown | inside) & ~(background & ~inside))


def _any_of_block(mask: Mask, step: int) -> Mask:
    """Return whether any pixel of each block of `step x step` is set."""
    height, width = mask.shape
    padded = np.pad(mask, ((0, -height % step), (0, -width % step)))
    rows, columns = padded.shape
    return np.asarray(padded.reshape(rows // step, step, columns // step, step).any((1, 3)))


def _solve(colours: NDArray[np.float64], inside: Mask, outside: Mask) -> NDArray[np.float64]:
    """Return the probability `[h, w]` that a walker meets a pixel of `inside` first."""
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import spsolve

    is_known = (inside | outside).ravel()
    out = inside.ravel().astype(np.float64)
    if is_known.all() or not outside.any():
        return (out if outside.any() else np.ones_like(out)).reshape(inside.shape)
    start, end, weight = list_edges(colours)
    n = len(out)
    rows, columns = np.concatenate([start, end]), np.concatenate([end, start])
    both = np.concatenate([weight, weight])
    links = coo_array((both, (rows, columns)), shape=(n, n)).tocsr()
    degree = np.bincount(rows, both, minlength=n)
    free = np.flatnonzero(~is_known)
    inner = -links[free][:, free]
    inner = inner + coo_array((degree[free], (np.arange(len(free)),) * 2), shape=inner.shape)
    out[free] = spsolve(inner.tocsc(), links[free] @ out)
    return out.reshape(inside.shape)


def list_edges(
    colours: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return start, end and weight of the edges between neighbours of an image `[h, w, c]`."""
    number = np.arange(colours.shape[0] * colours.shape[1]).reshape(colours.shape[:2])
    squared = [(np.diff(colours, axis=axis) ** 2).sum(2).ravel() for axis in (0, 1)]
    difference = np.concatenate(squared)
    scaled = difference / max(float(difference.mean()), 1e-12)
    start = np.concatenate([number[:-1].ravel(), number[:, :-1].ravel()])
    end = np.concatenate([number[1:].ravel(), number[:, 1:].ravel()])
    return start, end, np.exp(-BETA * scaled) + MIN_WEIGHT


def find_points(values: NDArray[np.floating], change: NDArray[np.floating], n: int = 1) -> Points:
    """Return row and column of points to grow a segment from, `[m, 2]`, m <= n.

    They lie in the parts of the picture where the map is largest; in each, at the pixel that taking
    it away changes most, since that change is what the map measures.

    Args:
        values: A map `[h, w]`, constant on each part or smooth.
        change: How much taking each pixel away changes the picture, `[h, w]`.
        n: Number of points; parts with a value of 0 or less get none, but one part always does.
    """
    levels = np.unique(values)[::-1][:n]
    points: list[tuple[int, int]] = []
    for level in levels:
        if level <= 0 and points:
            break
        in_part = values >= level if not points else values == level
        flat = np.where(in_part, change, -np.inf)
        points.append(divmod(int(flat.argmax()), values.shape[1]))
    return np.array(points, np.int64)
