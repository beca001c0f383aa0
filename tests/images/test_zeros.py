"""Zeros inside pictures: holes and padding are found, and even areas are left alone."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ilk.images import ImageError, decode
from ilk.images.decoding.jpeg_holes import check_holes
from ilk.images.decoding.webp_zeros import check_webp

RNG = np.random.default_rng(0)
NOISE = Image.fromarray(RNG.integers(0, 256, (160, 160, 3), np.uint8))
JPEG = [{}, {"quality": 95, "subsampling": 0}, {"quality": 60}, {"restart_marker_rows": 1}]
WEBP = [{"quality": 80}, {"quality": 10}, {"lossless": True}]


def coded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("options", JPEG)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_hole_of_zeros_in_a_jpeg_is_damage(options: dict[str, Any], mode: str) -> None:
    data = bytearray(coded(NOISE.convert(mode), "JPEG", **options))
    decode(bytes(data))
    start = data.find(b"\xff\xda") + 100
    data[start + 300 : start + 812] = bytes(512)
    with pytest.raises(ImageError) as caught:
        check_holes(bytes(data))
    assert caught.value.reason == "unreadable"
    assert "a hole of zeros at byte" in caught.value.detail
    with pytest.raises(ImageError):
        decode(bytes(data))


@pytest.mark.parametrize("options", WEBP)
def test_half_a_webp_padded_with_zeros_is_truncated(options: dict[str, Any]) -> None:
    data = coded(NOISE, "WEBP", **options)
    decode(data)
    half = data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
    with pytest.raises(ImageError, match="ends in") as caught:
        decode(half)
    assert caught.value.reason == "truncated"


def test_the_frames_of_an_animated_webp_are_looked_at() -> None:
    frames = [Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8)) for _ in range(3)]
    data = coded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    check_webp(BytesIO(data))
    with pytest.raises(ImageError):
        check_webp(BytesIO(data[: len(data) // 2] + bytes(len(data) - len(data) // 2)))


def draw(n_dots: int, side: int, mode: str, grey: int) -> Image.Image:
    pixels = np.full((side, side, 3), grey, np.uint8)
    for y, x in RNG.integers(0, side - 9, (n_dots, 2)):
        pixels[y : y + 9, x : x + 9] = RNG.integers(0, 256, 3)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("grey", [0, 128, 255])
@pytest.mark.parametrize("n_dots", [0, 3, 60])
def test_even_pictures_are_never_refused(mode: str, grey: int, n_dots: int) -> None:
    image = draw(n_dots, 900, mode, grey)
    plain = {"quality": 75}
    for options in (plain, {"optimize": True}, {"progressive": True}, {"quality": 5}):
        check_holes(coded(image, "JPEG", **options))
    for options in (plain, {"quality": 1, "method": 0}, {"lossless": True, "method": 0}):
        check_webp(BytesIO(coded(image, "WEBP", **options)))


def test_zeros_beside_the_scan_are_no_hole() -> None:
    data = coded(NOISE, "JPEG")
    comment = b"\xff\xfe\x02\x02" + bytes(512)
    check_holes(data[:2] + comment + data[2:] + bytes(1000))
    check_holes(b"\xff\xd8\xff\xda" + bytes(100))
