"""Small classifiers to export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ilk
from ilk.store import Store


def save_images(folder: Path, n: int = 24, classes: int = 3, seed: int = 0) -> Path:
    """Write `n` JPEG images per class, whose colours tell the class but for noise."""
    rng = np.random.default_rng(seed)
    for c in range(classes):
        (folder / f"kind {c}").mkdir(parents=True)
        for i in range(n):
            height, width = (int(v) for v in rng.integers(20, 60, 2))
            pixels = rng.normal(110, 50, (height, width, 3))
            pixels[..., c % 3] += 40 + 15 * rng.standard_normal()
            image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            image.save(folder / f"kind {c}" / f"{i}.jpg")
    return folder


def fit_model(images: Path, folder: Path, store: Store, **settings):
    """Fit and save a classifier of `pixels/6x6x3`, and return it."""
    settings = {"encoders": ("pixels/6x6x3",), "methods": ("GDA",), "folds": 3} | settings
    classifier = ilk.fit(str(images), store=store, **settings)
    classifier.save(folder)
    return classifier


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `photos`, `new` images of the same classes, and the model `kinds`."""
    home = tmp_path_factory.mktemp("export")
    store = Store(home / "store.sqlite")
    fit_model(save_images(home / "photos"), home / "kinds", store)
    save_images(home / "new", n=20, seed=1)
    return home
