"""Histograms of oriented gradients."""

from __future__ import annotations

import numpy as np

from ilk.encoders.hog import CELL_SIZE, N_BINS, NORM_CLIP, NORM_EPS, HogEncoder
from ilk.export.graphs.graph import Expression
from ilk.export.graphs.picture import Picture, resize

ENCODER = HogEncoder


def write_pixels(encoder: HogEncoder, picture: Picture) -> Expression:
    """Return resized pixels `[n, 3, side, side]`."""
    return resize(picture, (encoder.side, encoder.side), encoder.resize, "bicubic")


def write_features(encoder: HogEncoder, pixels: Expression) -> Expression:
    """Return normalized histograms `[n, d]`, step by step as `HogEncoder.embed`."""
    length, angle = _write_gradients(pixels)
    across = encoder.side // CELL_SIZE
    histograms = _write_histograms(length, angle, across)
    return _write_blocks(histograms, across)


def _write_gradients(pixels: Expression) -> tuple[Expression, Expression]:
    """Return length and angle in half turns of the steepest channel's gradients, `[n, h, w]`."""
    g = pixels.graph
    x = pixels.cast(np.float32) / np.float32(255)
    pads = g.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    x = g.apply("Pad", x, pads, mode="edge")
    inner, tail, head = (1, -1), (2, np.iinfo(np.int64).max), (0, -2)
    middle_rows, middle_columns = x.slice(*inner, 2), x.slice(*inner, 3)
    right = middle_rows.slice(*tail, 3) - middle_rows.slice(*head, 3)
    down = middle_columns.slice(*tail, 2) - middle_columns.slice(*head, 2)
    steepest = g.apply("ArgMax", right * right + down * down, dtype=np.int64, axis=1, keepdims=1)
    right, down = (
        g.apply("GatherElements", v, steepest, axis=1).reduce("Max", 1, keepdims=False)
        for v in (right, down)
    )
    is_vertical = right.equals(np.float32(0))
    turn = (down / is_vertical.select(np.float32(1), right)).map("Atan") / np.float32(np.pi)
    steep = down.equals(np.float32(0)).select(g.constant(np.float32(0)), np.float32(0.5))
    turn = is_vertical.select(steep, turn)
    angle = (turn < np.float32(0)).select(turn + np.float32(1), turn)
    return (right * right + down * down).map("Sqrt"), angle


def _write_histograms(length: Expression, angle: Expression, across: int) -> Expression:
    """Return histograms `[n, across, across, 9]` float32; each pixel votes for two bins."""
    g = length.graph
    position = angle * np.float32(N_BINS) - np.float32(0.5)
    low = position.map("Floor")
    upper = length * (position - low)
    lower = length - upper
    bins = []
    for number in range(N_BINS):
        votes = g.constant(np.zeros(1))
        # The bin below the first, and the one above the last, are those at the other end.
        for first, weight in ((low, lower), (low + np.float32(1), upper)):
            matches = [first.equals(np.float32(b)) for b in (number, number - 9, number + 9)]
            votes = votes + (matches[0] | matches[1] | matches[2]).select(
                weight.cast(np.float64), 0.0
            )
        cells = votes.reshape(-1, across, CELL_SIZE, across, CELL_SIZE)
        total = cells.reduce("Sum", 4, keepdims=False).reduce("Sum", 2, keepdims=False)
        bins.append(total.reshape(-1, across, across, 1))
    return g.concatenate(bins, 3).cast(np.float32)


def _write_blocks(histograms: Expression, across: int) -> Expression:
    """Return overlapping blocks of 2 x 2 cells with clipped norms, `[n, 36 blocks]`."""
    corners = [
        histograms.slice(r, across - 1 + r, 1).slice(c, across - 1 + c, 2).reshape(0, 0, 0, 0, 1)
        for r in (0, 1)
        for c in (0, 1)
    ]
    n_blocks = across - 1
    v = histograms.graph.concatenate(corners, 4).reshape(-1, n_blocks, n_blocks, 4 * N_BINS)
    for clip in (NORM_CLIP, None):
        norm = ((v * v).reduce("Sum", 3) + np.float32(NORM_EPS**2)).map("Sqrt")
        v = v / norm
        v = v if clip is None else v.minimum(np.float32(clip))
    return v.reshape(-1, n_blocks * n_blocks * 4 * N_BINS)
