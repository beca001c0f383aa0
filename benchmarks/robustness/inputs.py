"""Small pictures, folders and tables that stand for what users bring; everything from seeds."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SHAPES = ("ring", "stripe", "dots")
SIDE = 24  # pixels


def draw_picture(shape: str, seed: int, side: int = SIDE) -> Image.Image:
    """Return an RGB picture of `shape`, of random place, size and colours."""
    rng = np.random.default_rng([seed, sum(map(ord, shape))])
    y, x = np.mgrid[:side, :side] / side
    (cx, cy), size = rng.uniform(0.35, 0.65, 2), rng.uniform(0.18, 0.3)
    distance = np.hypot(x - cx, y - cy)
    match shape:
        case "ring":
            ink = np.abs(distance - size) < 0.07
        case "stripe":
            ink = np.abs((x - cx) + (y - cy)) < 0.09
        case _:
            ink = (np.sin(x * 9 * np.pi) * np.sin(y * 9 * np.pi) > 0.4) & (distance < size + 0.1)
    paper, colour = rng.integers(150, 240, 3), rng.integers(0, 90, 3)
    pixels = np.where(ink[..., None], colour, paper) + rng.integers(-10, 11, (side, side, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def write_folder(
    root: Path,
    n: int = 8,
    classes: Mapping[str, str] | Sequence[str] = SHAPES,
    *,
    first: int = 0,
    suffix: str = "png",
) -> Path:
    """Write `n` pictures per class folder and return `root`.

    Args:
        root: Folder to create.
        n: Pictures per class.
        classes: Folder names, or a mapping from folder name to shape.
        first: Seed of the first picture.
        suffix: File name suffix, which gives the format.
    """
    shapes = classes if isinstance(classes, Mapping) else {name: name for name in classes}
    for name, shape in shapes.items():
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(n):
            draw_picture(shape, first + i).save(folder / f"{i:03}.{suffix}")
    return root


def write_table(
    path: Path,
    header: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    encoding: str = "utf-8",
    delimiter: str = ",",
) -> Path:
    """Write a CSV file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def list_labelled(root: Path, n: int = 6) -> list[tuple[str, str, int]]:
    """Write a folder of classes; return path, class and number of each picture, for a table."""
    write_folder(root, n)
    return [(f"{shape}/{i:03}.png", shape, i) for shape in SHAPES for i in range(n)]
