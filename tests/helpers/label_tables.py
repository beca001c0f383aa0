"""Real digits side by side: images to which several labels apply, and tables of them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

DIGITS = ("one", "seven", "three", "zero")
VALUES = {"zero": 0, "one": 1, "three": 3, "seven": 7}


def draw_pairs(home: Path, n: int, seed: int = 0) -> list[tuple[str, tuple[str, ...]]]:
    """Write `n` images of zero to two different digits; return their names and labels."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    rng = np.random.default_rng(seed)
    home.mkdir(parents=True, exist_ok=True)
    drawn = []
    for i in range(n):
        names = rng.permutation(DIGITS)[: rng.choice([0, 1, 2, 2])]
        canvas = rng.integers(0, 3, (8, 16)).astype(float)
        for place, name in zip(rng.permutation([0, 8]), names, strict=False):
            choices = np.flatnonzero(bunch.target == VALUES[name])
            canvas[:, place : place + 8] += bunch.images[rng.choice(choices)]
        path = f"{i:04d}.png"
        Image.fromarray(np.uint8(np.clip(canvas * 15, 0, 255))).save(home / path)
        drawn.append((path, tuple(sorted(map(str, names)))))
    return drawn


def write_table(
    file: Path,
    rows: Sequence[tuple[str, tuple[str, ...]]],
    to_cell: Callable[[tuple[str, ...]], str] = lambda names: ";".join(names) or "none",
) -> Path:
    """Write a CSV of paths and labels, in cells that `to_cell` makes of the labels."""
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("path", "label"))
        writer.writerows((path, to_cell(names)) for path, names in rows)
    return file


def write_indicators(file: Path, rows: Sequence[tuple[str, tuple[str, ...]]]) -> Path:
    """Write a CSV with a column of 0 and 1 per label."""
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("path", *DIGITS))
        writer.writerows((path, *(int(d in names) for d in DIGITS)) for path, names in rows)
    return file
