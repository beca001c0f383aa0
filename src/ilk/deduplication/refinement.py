"""Fit one picture onto another to fractions of a pixel, from a placing that is nearly right.

The part is kept; the whole is sampled under an affine map, whose six numbers are found by
Gauss-Newton steps on the details, with a free contrast: the map that maximizes their correlation
(Georgios D. Evangelidis, Emmanouil Z. Psarakis, 2008, Parametric Image Alignment Using Enhanced
Correlation Coefficient Maximization). A step that does not help ends it. The map must stay near its
start, so that the freedom does not make different pictures agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.deduplication.details import Grey, correlate, remove_surroundings
from ilk.deduplication.picture import DETAIL_PIXELS, FINEST_PIXELS, Picture, Placing

N_STEPS = 6
REACH = 0.12  # of the half sides, that a corner may move
STIFFNESS = 1e-3  # of the steps, relative to the details
NO_GAIN = 1e-3  # of the correlation, below which steps end

Map = NDArray[np.float64]  # [2, 3], from part to whole, in pixels


@dataclass(frozen=True)
class Agreement:
    """How well two pictures agree where they agree best.

    Attributes:
        correlation: Normalized cross-correlation of their details, -1 to 1; 0 without details.
        fine: That of their finest details.
        grey: That of their grey values.
        share: Share of the larger picture's area that the other covers, 0 to 1.
        is_mirrored: Whether one is the mirror image of the other.
        turn: Degrees by which one is turned.
    """

    correlation: float
    fine: float
    grey: float
    share: float
    is_mirrored: bool
    turn: float


NO_AGREEMENT = Agreement(0.0, 0.0, 0.0, 1.0, False, 0.0)


def refine(part: Picture, whole: Picture, placing: Placing) -> Agreement:
    """Return the agreement of a placing after the part was fitted onto the whole."""
    height, width = whole.pixels.shape
    pixels = part.draw(placing, height, width)
    if placing.is_mirrored:
        pixels = np.ascontiguousarray(pixels[:, ::-1])
    h, w = pixels.shape
    own = remove_surroundings(pixels, DETAIL_PIXELS)
    start = np.array(
        [
            [placing.width * width / w, 0, placing.left * width],
            [0, placing.height * height / h, placing.top * height],
        ]
    )
    best, score = start, _correlate(whole.layers[0], start, own)
    for _ in range(N_STEPS):
        moved = _limit(best + _find_step(whole, best, own), start, (h, w))
        new = _correlate(whole.layers[0], moved, own)
        if new <= score:
            break
        gain, best, score = new - score, moved, new
        if gain < NO_GAIN:
            break
    return Agreement(
        score,
        _correlate(whole.layers[3], best, remove_surroundings(pixels, FINEST_PIXELS)),
        float(correlate(_sample(whole.image, best, (h, w))[None], pixels)[0]),
        min(1.0, abs(float(np.linalg.det(best[:, :2]))) * h * w / (height * width)),
        placing.is_mirrored,
        placing.turn,
    )


def _find_step(whole: Picture, current: Map, own: Grey) -> Map:
    """Return the Gauss-Newton step `[2, 3]` that brings the whole's details nearer to `own`."""
    shape = own.shape
    seen, right, down = (_sample(layer, current, shape).ravel() for layer in whole.layers[:3])
    x, y, one = _list_places(shape)
    columns = [right * x, right * y, right * one, down * x, down * y, down * one, -own.ravel()]
    table = np.stack(columns).astype(np.float64)
    table -= table.mean(1, keepdims=True)
    products = table @ table.T
    products[np.diag_indices(6)] += STIFFNESS * np.trace(products[:6, :6]) / 6
    step = np.linalg.lstsq(products, -table @ (seen - seen.mean()), rcond=1e-9)[0][:6]
    a, b, c, d, e, f = step.tolist()
    half_h, half_w = shape[0] / 2, shape[1] / 2
    return np.array(
        [
            [a / half_w, b / half_h, c - a - b],
            [d / half_w, e / half_h, f - d - e],
        ]
    )


@lru_cache(maxsize=64)
def _list_places(shape: tuple[int, int]) -> tuple[Grey, Grey, Grey]:
    """Return x and y of each pixel, from -1 to 1, and ones, each `[h w]`."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    x = (x.ravel() + 0.5) / (shape[1] / 2) - 1
    y = (y.ravel() + 0.5) / (shape[0] / 2) - 1
    return x, y, np.ones_like(x)


def _limit(moved: Map, start: Map, shape: tuple[int, int]) -> Map:
    """Return a map whose corners are at most `REACH` of the half sides from where they started."""
    corners = np.array([[0, 0, 1], [shape[1], 0, 1], [0, shape[0], 1], [shape[1], shape[0], 1]])
    way = (moved - start) @ corners.T
    half = np.array([[start[0, 0] * shape[1] / 2], [start[1, 1] * shape[0] / 2]])
    farthest = float(np.abs(way / half).max())
    return start + (moved - start) * min(1.0, REACH / max(farthest, 1e-9))


def _sample(layer: Image.Image, place: Map, shape: tuple[int, int]) -> Grey:
    data = tuple(place.ravel().tolist())
    size = (shape[1], shape[0])
    image = layer.transform(size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)


def _correlate(layer: Image.Image, place: Map, own: Grey) -> float:
    return float(correlate(_sample(layer, place, own.shape)[None], own)[0])
