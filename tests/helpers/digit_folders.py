"""Small folders of real digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_digits(home: Path, per_class: dict[str, int], seed: int = 0) -> Path:
    """Class folders of scikit-learn's digits; names may be anything whose last character is one."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    rng = np.random.default_rng(seed)
    for name, n in per_class.items():
        rows = rng.permutation(np.flatnonzero(bunch.target == int(name[-1])))[:n]
        (home / name).mkdir(parents=True, exist_ok=True)
        for i in rows:
            pixels = np.round(bunch.images[i] * 255 / 16).astype(np.uint8)
            Image.fromarray(pixels).save(home / name / f"{i:04d}.png")
    return home
