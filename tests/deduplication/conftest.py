"""Pictures with details that are drawn at random, and a calibration that is quick."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ilk.deduplication import calibration
from ilk.encoders import resolve_encoder
from ilk.images import Images
from ilk.store import Store


def draw(seed: int, size: tuple[int, int] = (96, 72)) -> Image.Image:
    """Return a picture of random shapes."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(rng.integers(0, 256, 3).tolist()))
    pen = ImageDraw.Draw(image)
    for _ in range(25):
        x, y = rng.integers(0, size[0]), rng.integers(0, size[1])
        w, h = rng.integers(5, 30, 2)
        ink = tuple(rng.integers(0, 256, 3).tolist())
        shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        shape((x, y, x + w, y + h), fill=ink)
    return image


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(calibration, "N_ORIGINALS", 10)


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "store.sqlite")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def hog():
    return resolve_encoder("hog", images=Images(None, ()))
