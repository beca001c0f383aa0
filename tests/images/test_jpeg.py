"""JPEG files that libjpeg decodes only by guessing are refused; whole ones decode as in Pillow."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from ilk.images.decoding.decode import decode
from ilk.images.rows.refused import ImageError


def photo(seed=0, mode="RGB"):
    """Smooth shapes and noise, so that every part of the file carries something."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
    pixels = np.asarray(small.resize((320, 240), Image.Resampling.BICUBIC)).astype(int)
    noisy = np.clip(pixels + rng.integers(-20, 21, pixels.shape), 0, 255).astype(np.uint8)
    return Image.fromarray(noisy).convert(mode)


def save(image, **options):
    file = BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "quality": 50}])
def test_a_whole_file_decodes_as_in_pillow(mode, options):
    content = save(photo(mode=mode), **options)
    expected = Image.open(BytesIO(content)).convert("RGB")
    np.testing.assert_array_equal(np.asarray(decode(content)), np.asarray(expected))


def damage(content):
    half, zeros = len(content) // 2, bytes(len(content) - len(content) // 2)
    return {
        "half, padded with zeros": content[:half] + zeros,
        "half, closed with an end marker": content[:half] + b"\xff\xd9",
        "nine tenths, closed with an end marker": content[: len(content) * 9 // 10] + b"\xff\xd9",
        "half": content[:half],
    }


@pytest.mark.parametrize("case", damage(b"1234"))
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_half_a_picture_is_truncated(case, options, mode):
    for seed in range(5):
        content = save(photo(seed, mode), **options)
        with pytest.raises(ImageError) as caught:
            decode(damage(content)[case])
        assert caught.value.reason == "truncated"


def test_a_hole_of_512_bytes_is_found_in_nearly_every_file():
    """Zeros are valid code, so that a few holes fit by chance; libjpeg cannot tell those."""
    found = 0
    for seed in range(40):
        content = save(photo(seed))
        start = len(content) // 2
        try:
            decode(content[:start] + bytes(512) + content[start + 512 :])
        except ImageError as error:
            found += error.reason in ("unreadable", "truncated")
    assert found >= 34


def test_padding_before_the_end_marker_is_no_damage():
    content = save(photo())
    padded = content[:-2] + bytes(40) + content[-2:]
    np.testing.assert_array_equal(np.asarray(decode(padded)), np.asarray(decode(content)))
    with pytest.raises(ImageError, match="extraneous bytes"):
        decode(content[:-2] + b"\x5a" * 40 + content[-2:])


def test_bytes_after_the_end_are_no_damage():
    content = save(photo())
    np.testing.assert_array_equal(
        np.asarray(decode(content + b"more")), np.asarray(decode(content))
    )
