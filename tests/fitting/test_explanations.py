"""Explanations in the report show the very image that was scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ilk.fitting import explanations
from ilk.images import read_images


class Encoder:
    classes = ("red", "lime")
    space = None

    def prepare(self, image: Image.Image) -> Any:
        return np.asarray(image)

    def explain(self, pixels: Any, _own: int, _other: int) -> Any:
        return tuple(int(value) for value in pixels[0, 0])


class Scores:
    def get(self, _space: Any, digests: list[str]) -> Any:
        return np.zeros((len(digests), 2))


def test_the_page_and_the_value_range_of_a_row_are_shown(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "lime"))
    first.save(tmp_path / "scan.tif", save_all=True, append_images=[second])
    deep = Image.fromarray(np.full((8, 8), 600, np.uint16))
    deep.putpixel((7, 7), 0)
    deep.save(tmp_path / "deep.png")
    images = read_images(tmp_path, pages="all", value_range=(0, 1000))
    encoder: Any = Encoder()
    store: Any = Scores()
    for path, want in (("deep.png", (153,) * 3), ("scan.tif[2]", (0, 255, 0))):
        rows = [row for row in images.used if row.path == path]
        [(shown, _, picture)] = explanations.explain_classes(
            encoder, images, rows, np.zeros(1, np.int64), store
        )
        assert shown == tmp_path / path
        assert picture == want
