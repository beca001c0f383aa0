"""Pillow's resampling as ONNX operators, for images whose size is known only when the file runs.

The operator `Resize` is not used: of ONNX Runtime it differs by up to 2 of 255 from Pillow, and
OpenVINO reads `antialias` in another way, off by up to 170. Pillow's weights are integers of 22
bits, its sums are exact, and it rounds to 8 bits after each axis; the same sums in float64 give the
same pixels. A pass over an axis is a product with a band matrix, computed in blocks of neighbouring
output pixels, each of which reads a part of the axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import pi

import numpy as np
from PIL import Image

from ilk.export.graphs.graph import Expression, Graph, replace_graph

BITS = 22  # of Pillow's weights
BLOCK_SIZE = 64  # output pixels per product
OLD_RATIO = 100  # height over width above which Pillow before 12 starts with the height


@dataclass(frozen=True, eq=False)
class Axis:
    """How an axis is resampled.

    Attributes:
        length: Pixels of the source, an int64 scalar.
        size: Pixels of the whole result, an int64 scalar.
        index: Pixels of the result that are wanted, `[target]` int64, ascending.
        start: Where the source begins, in its pixels, a float64 scalar.
        stop: Where it ends, a float64 scalar.
    """

    length: Expression
    size: Expression
    index: Expression
    start: Expression
    stop: Expression


@dataclass(frozen=True, eq=False)
class Block:
    """Weights `[b, m]` of b output pixels for the source pixels from `first` to before `last`."""

    first: Expression
    last: Expression
    weights: Expression


def resample(
    image: Expression, rows: Axis, columns: Axis, target: tuple[int, int], kind: str
) -> Expression:
    """Return the wanted pixels `[n, c, *target]`, float64 integers, of an image `[n, c, h, w]`.

    Args:
        image: Pixels, uint8.
        rows: How the height is resampled.
        columns: How the width is resampled.
        target: Number of wanted rows and columns.
        kind: Pillow's name of the filter.
    """
    graph = image.graph
    row_blocks = make_blocks(rows, target[0], kind)
    column_blocks = make_blocks(columns, target[1], kind)
    width_first = _resample_height(graph, _resample_width(graph, image, column_blocks), row_blocks)
    height_first = _resample_width(graph, _resample_height(graph, image, row_blocks), column_blocks)
    # Both, since the first answer of OpenVINO 2026.4 is wrong where a file has the operator `If`.
    return starts_with_height(rows, columns).select(height_first, width_first)


def starts_with_height(rows: Axis, columns: Axis) -> Expression:
    """Return whether Pillow resamples the height before the width, a bool scalar."""
    shrinks = rows.size < rows.length
    if has_new_order():
        return shrinks & ((rows.length - rows.size) > (columns.length - columns.size) * 2)
    return shrinks & (rows.length > columns.length * OLD_RATIO)


@cache
def has_new_order() -> bool:
    """Whether the installed Pillow starts with the axis that shrinks by more than twice as much.

    Older ones start with the width, except of images 100 times as high as wide.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (60, 12), dtype=np.uint8)
    image = Image.fromarray(pixels)
    both = image.resize((40, 7), Image.Resampling.BICUBIC)
    height_first = image.resize((12, 7), Image.Resampling.BICUBIC).resize(
        (40, 7), Image.Resampling.BICUBIC
    )
    return both.tobytes() == height_first.tobytes()


def _resample_width(graph: Graph, x: Expression, blocks: list[Block]) -> Expression:
    parts = []
    for block in blocks:
        first, last, weights = (
            replace_graph(t, graph) for t in (block.first, block.last, block.weights)
        )
        parts.append(x.slice(first, last, 3).cast(np.float64) @ weights.transpose(1, 0))
    return _round(graph.concatenate(parts, 3))


def _resample_height(graph: Graph, x: Expression, blocks: list[Block]) -> Expression:
    parts = []
    for block in blocks:
        first, last, weights = (
            replace_graph(t, graph) for t in (block.first, block.last, block.weights)
        )
        parts.append(weights @ x.slice(first, last, 2).cast(np.float64))
    return _round(graph.concatenate(parts, 2))


def _round(sums: Expression) -> Expression:
    """Return sums of 22 more bits as pixels from 0 to 255."""
    values = ((sums + 2.0 ** (BITS - 1)) / 2.0**BITS).map("Floor")
    return values.maximum(0.0).minimum(255.0)


def make_blocks(axis: Axis, target: int, kind: str) -> list[Block]:
    """Return Pillow's weights of the wanted pixels of an axis."""
    if kind == "nearest":
        return [_make_nearest(axis)]
    compute, support = FILTERS[kind]
    graph = axis.length.graph
    length = axis.length.cast(np.float64)
    # Pillow subtracts in float32.
    extent = (axis.stop.cast(np.float32) - axis.start.cast(np.float32)).cast(np.float64)
    scale = extent / axis.size.cast(np.float64)
    filter_scale = scale.maximum(1.0)
    reach = filter_scale * support
    centre = axis.start + (axis.index.cast(np.float64) + 0.5) * scale
    low = (centre - reach + 0.5).map("Floor").maximum(0.0)
    high = (centre + reach + 0.5).map("Floor").minimum(length)
    blocks = []
    for begin in range(0, target, BLOCK_SIZE):
        end = min(begin + BLOCK_SIZE, target)
        first, last = low.gather(begin).cast(np.int64), high.gather(end - 1).cast(np.int64)
        source = graph.apply("Range", first, last, 1).cast(np.float64).reshape(1, -1)
        c, lo, hi = (v.slice(begin, end, 0).reshape(-1, 1) for v in (centre, low, high))
        value = compute((source - c + 0.5) * (graph.constant(1.0) / filter_scale))
        value = ((source >= lo) & (source < hi)).select(value, 0.0)
        value = value / value.reduce("Sum", 1) * 2.0**BITS
        rounded = (value < 0.0).select((value - 0.5).map("Ceil"), (value + 0.5).map("Floor"))
        blocks.append(Block(first, last, rounded))
    return blocks


def _make_nearest(axis: Axis) -> Block:
    graph = axis.length.graph
    scale = axis.stop / axis.size.cast(np.float64)
    # Pillow adds the step once per pixel, with the rounding that this brings.
    size = (axis.size - 1).reshape(1)
    steps = graph.apply("Expand", scale.reshape(1), size)
    steps = graph.concatenate([(scale * 0.5).reshape(1), steps], 0)
    positions = graph.apply("CumSum", steps, graph.constant(0, np.int64)).map("Floor")
    position = positions.gather(axis.index).reshape(-1, 1)
    zero = graph.constant(0, np.int64)
    source = graph.apply("Range", zero, axis.length, 1).cast(np.float64).reshape(1, -1)
    weights = source.equals(position).cast(np.float64) * 2.0**BITS
    return Block(zero, axis.length, weights)


def _linear(x: Expression) -> Expression:
    return (-x.map("Abs") + 1.0).maximum(0.0)


def _cubic(x: Expression) -> Expression:
    a, x = -0.5, x.map("Abs")
    near = (x * (a + 2.0) - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return (x < 1.0).select(near, (x < 2.0).select(far, 0.0))


def _box(x: Expression) -> Expression:
    return ((x > -0.5) & (x <= 0.5)).cast(np.float64)


def _sinc(x: Expression) -> Expression:
    is_zero = x.equals(0.0)
    y = is_zero.select(1.0, x) * pi
    return is_zero.select(1.0, y.map("Sin") / y)


def _lanczos(x: Expression) -> Expression:
    return ((x >= -3.0) & (x < 3.0)).select(_sinc(x) * _sinc(x / 3.0), 0.0)


def _hamming(x: Expression) -> Expression:
    x = x.map("Abs")
    window = (x * pi).map("Cos") * 0.46 + 0.54
    return (x >= 1.0).select(0.0, _sinc(x) * window)


FILTERS: dict[str, tuple[Callable[[Expression], Expression], float]] = {
    "bilinear": (_linear, 1.0),
    "bicubic": (_cubic, 2.0),
    "box": (_box, 0.5),
    "hamming": (_hamming, 1.0),
    "lanczos": (_lanczos, 3.0),
}
"""Pillow's filters by name: the function and its support."""
