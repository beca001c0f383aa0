"""Near-identical shots of patients: what belongs together, and what a leak would recognize."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image


def write_patients(
    folder: Path, n_patients: int = 12, n_shots: int = 4, seed: int = 0, names: str = "well ill"
) -> Path:
    """Write shots `p03_1.png` of patients with labels in turn, and a table; return the table."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    classes, lines = names.split(), []
    for p in range(n_patients):
        base = rng.integers(30, 220, (8, 8, 3))
        for s in range(n_shots):
            pixels = base + rng.integers(-5, 6, base.shape)
            file = f"p{seed}{p:02d}_{s}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(folder / file)
            lines.append((file, classes[p % len(classes)], f"p{seed}{p:02d}"))
    table = folder / "labels.csv"
    with table.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(("path", "label", "patient"))
        writer.writerows(lines)
    return table
