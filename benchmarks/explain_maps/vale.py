"""VALE on canvases: segments grown from maps, and whether sentences about them are true."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from benchmarks.canvas import SIDE, Canvases, FloatArray
from benchmarks.canvas_networks import CanvasNetwork, predict_proba
from benchmarks.explain_maps.fidelity import rank_pixels
from benchmarks.explain_maps.maps import IntArray
from ilk.explain.explainers.vale import find_background, tile_cells
from ilk.explain.facts import find_place
from ilk.explain.segment import find_points, walk_from_points
from ilk.explain.shapley import compute_shapley

BLUR = SIDE / 12  # pixels; what takes the place of cells that are taken away, as in ilk
N_CELLS = 8
AREA_FACTOR = 1.5  # a stated area is true if it is within this factor of the digit's box

Masks = NDArray[np.bool_]


def make_shap_maps(
    network: CanvasNetwork, x: FloatArray, classes: IntArray, n_coalitions: int, seed: int
) -> FloatArray:
    """Return the Shapley values of the log-odds of cells, `[n, 56, 56]`."""
    cells, blurred = tile_cells((SIDE, SIDE), N_CELLS), blur(x)
    maps = []
    for image, fill, c in zip(x, blurred, classes, strict=True):

        def score(
            z: Masks, image: FloatArray = image, fill: FloatArray = fill, c: int = c
        ) -> FloatArray:
            p = predict_proba(network, np.where(z[:, cells][:, None], image, fill))[:, c]
            return np.log(np.clip(p, 1e-6, 1 - 1e-6) / np.clip(1 - p, 1e-6, 1))

        maps.append(compute_shapley(score, N_CELLS**2, n_coalitions, seed)[cells])
    return np.stack(maps).astype(np.float32)


def blur(x: FloatArray) -> FloatArray:
    """Return blurred pixels `[n, 1, 56, 56]`."""
    return np.stack([gaussian_filter(i, BLUR) for i in x[:, 0]])[:, None]


def grow_segments(x: FloatArray, maps: FloatArray, n_points: int) -> Masks:
    """Return the segments `[n, 56, 56]` that grow from where maps are largest."""
    cells, segments = tile_cells((SIDE, SIDE), N_CELLS), []
    change = np.abs(x - blur(x))[:, 0]
    counts = np.bincount(cells.ravel())
    for image, moved, values in zip(x[:, 0], change, maps, strict=True):
        means = (np.bincount(cells.ravel(), values.ravel()) / counts)[cells].astype(np.float32)
        picture = np.repeat(np.rint(image * 255).astype(np.uint8)[..., None], 3, 2)
        points = find_points(means - means.min(), moved, n_points)
        segments.append(walk_from_points(picture, points, find_background(means)))
    return np.stack(segments)


def measure_overlap(segments: Masks, ink: Masks) -> float:
    """Return the mean intersection over union of segments and the digits' ink, in %."""
    both, either = (segments & ink).sum((1, 2)), (segments | ink).sum((1, 2))
    return 100 * float((both / either).mean())


def measure_fall(
    network: CanvasNetwork,
    x: FloatArray,
    classes: IntArray,
    segments: Masks,
    maps: FloatArray,
    area: NDArray[np.int64],
) -> float:
    """Return by how much the probability falls, in points, when `area [n]` pixels are blurred.

    Those of the segment come first, then those where the map is largest.
    """
    rank = rank_pixels(np.where(segments, 2 * np.ptp(maps) + maps, maps).astype(np.float32))
    is_taken = rank < (area / SIDE**2)[:, None, None]
    rows = np.arange(len(x))
    before = predict_proba(network, x)[rows, classes]
    after = predict_proba(network, np.where(is_taken[:, None], blur(x), x))[rows, classes]
    return 100 * float((before - after).mean())


def check_statements(
    canvases: Canvases, segments: Masks, classes: IntArray, shuffled: bool, seed: int
) -> dict[str, float]:
    """Return the share of true statements, in %, against what is known of each canvas.

    Args:
        canvases: The canvases.
        segments: Segments of their explanations.
        classes: The classes that are named: the network's.
        shuffled: Whether each text is compared with another canvas: the control.
        seed: Seed of the shuffle.
    """
    n = len(canvases)
    shift = int(np.random.default_rng(seed).integers(1, n)) if shuffled else 0
    other = (np.arange(n) + shift) % n
    left, top, right, bottom = canvases.box[other].T
    boxes = np.zeros_like(segments)
    for i in range(n):
        boxes[i, top[i] : bottom[i], left[i] : right[i]] = True
    places = [find_place(s.astype(np.float32)) for s in segments]
    true_places = [find_place(m.astype(np.float32)) for m in canvases.ink[other]]
    ratio = _measure_box(segments) / np.maximum(1, boxes.sum((1, 2)))
    return {
        "class": 100 * float((classes == canvases.y[other]).mean()),
        "place": 100 * float(np.mean([a == b for a, b in zip(places, true_places, strict=True)])),
        "size": 100 * float(((ratio < AREA_FACTOR) & (ratio > 1 / AREA_FACTOR)).mean()),
    }


def _measure_box(segments: Masks) -> NDArray[np.int64]:
    """Return the area of the box around each segment, `[n]`."""
    return np.array([np.prod([int(np.ptp(at)) + 1 for at in np.nonzero(s)]) for s in segments])
