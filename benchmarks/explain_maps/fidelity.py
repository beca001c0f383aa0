"""Scores of maps of canvases: average drop, insertion and deletion, and the known place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from benchmarks.canvas import SIDE, Canvases, FloatArray
from benchmarks.canvas_networks import MEAN, CanvasNetwork, predict_proba
from benchmarks.explain_maps.maps import IntArray, apply_masks
from ilk.explain.confidence_drop import keep_top, measure_average_drop

LEVEL = 0.85
N_STEPS = 20  # of 5 % of the pixels
BLUR = 2.0  # pixels; what insertion starts from


def score_maps(
    network: CanvasNetwork, canvases: Canvases, classes: IntArray, maps: FloatArray
) -> dict[str, float]:
    """Return the scores of maps `[n, 56, 56]` for the network's own classes `[n]`."""
    rows = np.arange(len(canvases))
    before = predict_proba(network, canvases.x)[rows, classes]
    scores: dict[str, float] = {"map mean": float(np.mean([keep_top(m, 0).mean() for m in maps]))}
    for level in (0.0, 0.5, LEVEL):
        kept = np.stack([keep_top(m, level) for m in maps])
        after = predict_proba(network, apply_masks(canvases.x, kept))[rows, classes]
        drop, increase = measure_average_drop(before, after)
        scores[f"AD {level:g}"], scores[f"IC {level:g}"] = drop, increase
    deletion, insertion = measure_curves(network, canvases.x, classes, maps)
    scores["deletion"], scores["insertion"] = deletion, insertion
    scores["insertion - deletion"] = insertion - deletion
    scores["pointing game"] = 100 * float(np.mean(point_at(canvases, maps)))
    scores["mass in mask / share"] = measure_mass(canvases, maps)
    return scores


def rank_pixels(maps: FloatArray) -> NDArray[np.float64]:
    """Return the rank of each pixel, `[n, 56, 56]` in [0, 1): 0 is the largest; ties at random."""
    noise = np.random.default_rng(0).random((SIDE, SIDE)) * 1e-6
    ranks = []
    for values in maps:
        order = np.argsort(-(values + np.ptp(values) * noise).ravel(), kind="stable")
        rank = np.empty(order.size)
        rank[order] = np.arange(order.size) / order.size
        ranks.append(rank.reshape(SIDE, SIDE))
    return np.stack(ranks)


def measure_curves(
    network: CanvasNetwork, x: FloatArray, classes: IntArray, maps: FloatArray
) -> tuple[float, float]:
    """Return the areas under the deletion curve (to mean colour) and the insertion curve (blur)."""
    rank, rows = rank_pixels(maps), np.arange(len(x))
    blurred = np.stack([gaussian_filter(i, BLUR) for i in x[:, 0]])[:, None]
    curves: tuple[list[FloatArray], list[FloatArray]] = ([], [])
    for step in range(N_STEPS + 1):
        is_first = (rank < step / N_STEPS)[:, None]
        for curve, image in zip(
            curves, (np.where(is_first, MEAN, x), np.where(is_first, x, blurred)), strict=True
        ):
            curve.append(predict_proba(network, image)[rows, classes])
    areas = [np.trapezoid(np.stack(c), dx=1 / N_STEPS, axis=0).mean() for c in curves]
    return float(areas[0]), float(areas[1])


def point_at(canvases: Canvases, maps: FloatArray) -> NDArray[np.bool_]:
    """Return whether the largest value of each map lies on the digit, `[n]`."""
    peak = rank_pixels(maps).reshape(len(maps), -1).argmin(1)
    return np.asarray(canvases.mask.reshape(len(maps), -1)[np.arange(len(maps)), peak])


def measure_mass(canvases: Canvases, maps: FloatArray) -> float:
    """Return the share of the maps' mass on the digit, over its share of the area; 1 is chance."""
    scaled = np.stack([keep_top(m, 0) for m in maps])
    mass = (scaled * canvases.mask).sum((1, 2)) / scaled.sum((1, 2))
    return float(np.mean(mass / canvases.mask.mean((1, 2))))
