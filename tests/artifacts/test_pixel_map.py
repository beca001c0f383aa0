"""Maps lie over their image, however it was resized."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ilk.artifacts.map_folder import find_scale
from ilk.artifacts.pixel_map import PixelMap
from ilk.core.capabilities import ResizeMode
from ilk.hub.preprocessing import Preprocess

PLAIN = Preprocess(
    size=(56, 56), scale=(64, 64), fit="short", interpolation="bilinear", mean=(0.0,), std=(1.0,)
)
WAYS: tuple[ResizeMode, ...] = ("crop", "squash", "letterbox")


def locate_spot(preprocess: Preprocess, size: tuple[int, int], spot: tuple[int, int]) -> PixelMap:
    """Return a map that is bright where the network's input shows a white spot of an image."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    x, y = spot
    pixels[y - 8 : y + 8, x - 8 : x + 8] = 255
    seen = preprocess.prepare(Image.fromarray(pixels))[0].astype(np.float32)
    values = seen.reshape(14, 4, 14, 4).mean((1, 3))
    return PixelMap(values, preprocess.locate_input(*size), size)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [(100, 100), (150, 90), (80, 240)])
def test_a_spot_is_drawn_where_it_lies(way: ResizeMode, size: tuple[int, int]) -> None:
    spot = (size[0] // 2 + 14, size[1] // 2 - 9)
    found = locate_spot(PLAIN.with_resize(way), size, spot)
    drawn = found.render()
    assert drawn.shape == (size[1], size[0])
    rows, columns = np.mgrid[: size[1], : size[0]]
    weight = np.clip(drawn - drawn.max() / 2, 0, None)
    centre = (np.sum(columns * weight) / weight.sum(), np.sum(rows * weight) / weight.sum())
    step = max(found.box[2] - found.box[0], found.box[3] - found.box[1]) / 14
    np.testing.assert_allclose(centre, spot, atol=0.6 * step + 1)
    left, top, right, bottom = found.find_region()
    assert left <= spot[0] <= right
    assert top <= spot[1] <= bottom
    assert (right - left) * (bottom - top) < 0.35 * size[0] * size[1]


def test_what_a_crop_cut_off_is_not_marked() -> None:
    box = PLAIN.with_resize("crop").locate_input(300, 100)
    drawn = PixelMap(np.ones((14, 14), np.float32), box, (300, 100)).render()
    assert drawn[:, :105].max() == drawn[:, 195:].max() == drawn[:5].max() == 0
    assert drawn[8:92, 108:192].min() > 0.99  # 56 of 64 pixels of the short side


def test_the_bars_of_a_letterbox_are_outside_the_image() -> None:
    left, top, right, bottom = PLAIN.with_resize("letterbox").locate_input(200, 100)
    assert (left, right) == (0, 200)
    assert (top, bottom) == (-50, 150)


def test_the_region_is_one_connected_part() -> None:
    values = np.zeros((8, 8), np.float32)
    values[1:3, 1:4], values[6, 6] = 5, 4.9
    values[1, 1] = 6
    assert PixelMap(values, (0, 0, 80, 80), (80, 80)).find_region() == (10, 10, 40, 30)


def test_the_picture_is_red_at_the_defect_only() -> None:
    values = np.zeros((8, 8), np.float32)
    values[2, 5] = 1.5
    image = Image.new("RGB", (80, 80), (100, 100, 100))
    drawn = np.asarray(PixelMap(values, (0, 0, 80, 80), (80, 80)).draw(image, 1.0)).astype(int)
    assert drawn[25, 55, 0] > drawn[25, 55, 2] + 80
    assert np.ptp(drawn[70, 10]) == 0


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (40, 1)])
def test_the_region_of_an_image_smaller_than_the_grid_holds_a_pixel(size: tuple[int, int]) -> None:
    for spot in range(14):
        values = np.zeros((14, 14), np.float32)
        values[spot, spot] = 1
        found = PixelMap(values, (0, 0, *size), size)
        left, top, right, bottom = found.find_region()
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]


def test_without_a_threshold_the_median_normal_score_is_red():
    scores = [0.0, 1.0, 2.0, 30.0]  # the last image has no like among the few others
    assert find_scale(None, scores) == 2
    assert find_scale(7.0, scores) == 7
    assert find_scale(None, []) == find_scale(float("inf"), [0.0]) == 1
