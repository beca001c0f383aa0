"""Pixels: each format, depth and form against numbers worked out by hand or by a second way."""

from __future__ import annotations

import struct
import threading
import warnings
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ilk.images import ImageError, decode, decode_thumbnail

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)
RAMP = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(4, 64)


def coded(image, kind="PNG", **options):
    out = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, kind, **options)
    return out.getvalue()


def pixels(data, **options):
    image = decode(data, **options)
    assert image.mode == "RGB"
    return np.asarray(image)


def grey(data):
    out = pixels(data)
    assert (out == out[..., :1]).all()
    return out[..., 0]


def tiff(values, *, bits, sample=1, photometric=1, order="<"):
    """An uncompressed TIFF of one grey plane, written by the specification."""
    data, (h, w) = values.tobytes(), values.shape
    tags = {256: w, 257: h, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: h}
    tags |= {279: len(data), 339: sample}
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(data)) + data
    out += struct.pack(order + "H", len(tags))
    for tag, value in sorted(tags.items()):
        out += struct.pack(order + "HHII", tag, 4, 1, value)
    return out + struct.pack(order + "I", 0)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_formats_without_loss_give_the_pixels_that_were_stored(kind, options):
    assert (pixels(coded(PHOTO, kind, **options)) == PHOTO).all()


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {})]
)
def test_formats_with_loss_come_close(kind, options):
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    out = pixels(coded(smooth, kind, quality=95, **options)).astype(int)
    assert np.abs(out - smooth[..., None]).max() <= 4


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
def test_one_bit_is_black_and_white(kind):
    bits = RNG.random((9, 11)) < 0.5
    assert (grey(coded(Image.fromarray(bits), kind)) == bits * 255).all()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
def test_eight_bits_of_grey_stay_as_they_are(kind):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (grey(coded(ramp, kind)) == ramp).all()


@pytest.mark.parametrize(
    "data",
    [
        coded(RAMP),
        coded(RAMP, "TIFF"),
        coded(RAMP, "TIFF", compression="tiff_lzw"),
        tiff(RAMP.astype("<u2"), bits=16),
        tiff(RAMP.astype(">u2"), bits=16, order=">"),
        coded(RAMP.astype(np.int32), "TIFF"),
        tiff((RAMP.astype(np.uint32) * 65537).astype("<u4"), bits=32),
        coded(RAMP.astype(np.int32) - 32768, "TIFF"),
        tiff((RAMP.astype(np.int32) - 32768).astype("<i2"), bits=16, sample=2),
        coded((RAMP / 65535).astype(np.float32), "TIFF"),
        coded(((RAMP / 65535 - 0.5) * 1e6).astype(np.float32), "TIFF"),
    ],
    ids=[
        *("png16", "tiff16", "tiff16-lzw", "tiff16-le", "tiff16-be", "int32", "uint32"),
        *("int32-negative", "int16", "float", "float-wide"),
    ],
)
def test_more_than_eight_bits_are_scaled_and_never_clipped(data):
    assert (grey(data).ravel() == np.rint(RAMP.ravel() / 257)).all()


def test_a_dark_image_of_16_bits_stays_dark():
    assert grey(coded(RAMP // 4)).max() == 64


def test_grey_of_twelve_bits_is_white_at_4095():
    bits = "".join(f"{v:012b}" for v in np.linspace(0, 4095, 256).round().astype(int))
    data = tiff(
        np.array([int(bits[i : i + 8], 2) for i in range(0, 3072, 8)], np.uint8)[None], bits=8
    )
    told = data.replace(struct.pack("<HHII", 256, 4, 1, 384), struct.pack("<HHII", 256, 4, 1, 256))
    told = told.replace(struct.pack("<HHII", 258, 4, 1, 8), struct.pack("<HHII", 258, 4, 1, 12))
    assert (grey(told).ravel() == np.arange(256)).all()


@pytest.mark.parametrize(
    "data",
    [
        tiff(RAMP.astype("<u2"), bits=16, photometric=0),
        tiff((RAMP / 65535).astype("<f4"), bits=32, sample=3, photometric=0),
    ],
)
def test_tiff_where_zero_is_white(data):
    assert (grey(data).ravel() == 255 - np.rint(RAMP.ravel() / 257)).all()


def test_floats_that_are_no_numbers_are_black_and_hide_nothing():
    values = (0.5 + RAMP / 131070).astype(np.float32)
    want = np.rint(values.astype(float) * 255)
    values[0, 5], values[1, 6] = np.nan, np.inf
    out = grey(coded(values, "TIFF"))
    want[0, 5] = want[1, 6] = 0
    assert (out == want).all()
    with pytest.raises(ImageError, match="no pixel is a finite number"):
        decode(coded(np.full((2, 2), np.nan, np.float32), "TIFF"))


def test_a_constant_image_out_of_range_does_not_divide_by_zero():
    assert (grey(coded(np.full((3, 3), 7e9, np.float32), "TIFF")) == 0).all()


def test_16_bit_colour_keeps_its_upper_half():
    wide = RNG.integers(0, 65536, (5, 6, 3)).astype(">u2")

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    lines = b"".join(b"\0" + line.tobytes() for line in wide)
    head = struct.pack(">IIBBBBB", 6, 5, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    data += chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    assert (pixels(data) == wide >> 8).all()


def test_a_palette_gives_its_colours():
    index = RNG.integers(0, 4, (6, 7)).astype(np.uint8)
    colours = np.array([[10, 20, 30], [200, 0, 5], [0, 255, 0], [1, 2, 250]], np.uint8)
    image = Image.fromarray(index)
    image.putpalette(colours.tobytes())
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        assert (pixels(coded(image, kind)) == colours[index]).all()


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_colour_becomes_white(kind):
    index = RNG.integers(0, 3, (6, 7)).astype(np.uint8)
    colours = np.array([[10, 20, 30], [200, 0, 5], [0, 255, 0]], np.uint8)
    image = Image.fromarray(index)
    image.putpalette(colours.tobytes())
    colours[1] = 255
    assert (pixels(coded(image, kind, transparency=1)) == colours[index]).all()


def test_a_palette_with_an_alpha_for_each_colour():
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    image.putpalette(bytes([0, 0, 0, 100, 0, 0, 0, 0, 0]))
    out = pixels(coded(image, transparency=bytes([0, 255, 51])))
    assert out.tolist() == [[[255] * 3, [100, 0, 0], [204] * 3]]


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("TIFF", "RGBA"), ("WEBP", "RGBA")]
)
def test_alpha_is_laid_on_white(kind, mode):
    alpha = np.array([[0, 51, 255]], np.uint8)
    colour = np.array([[[100, 100, 100]] * 3], np.uint8)
    image = Image.fromarray(np.dstack([colour, alpha])).convert(mode)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    out = grey(coded(image, kind, **options))
    assert out[0, 0] == 255
    assert abs(int(out[0, 1]) - (100 * 0.2 + 255 * 0.8)) <= 1
    assert out[0, 2] == 100


@pytest.mark.parametrize(
    ("values", "key", "where"),
    [
        (np.array([[3, 9]], np.uint8), 3, (255, 9)),
        (np.array([[300, 65535 // 5]], np.uint16), 300, (255, 51)),
    ],
)
def test_a_colour_key_is_white(values, key, where):
    assert tuple(grey(coded(values, transparency=key))[0]) == where


def test_a_colour_key_of_three_channels_is_white():
    image = np.array([[[1, 2, 3], [1, 2, 4]]], np.uint8)
    assert pixels(coded(image, transparency=(1, 2, 3))).tolist() == [[[255] * 3, [1, 2, 4]]]


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_is_ink(kind):
    inks = {(0, 0, 0, 0): 255, (0, 0, 0, 255): 0, (255, 255, 255, 0): 0, (0, 0, 0, 55): 200}
    for ink, light in inks.items():
        out = pixels(coded(Image.new("CMYK", (16, 16), ink), kind))
        assert np.abs(out.astype(int) - light).max() <= (0 if kind == "TIFF" else 2)
    red = pixels(coded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), kind))[8, 8]
    assert red[0] > 250
    assert max(red[1:]) < 5


def test_only_the_first_frame_counts():
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "blue")]
    for kind, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("PNG", {})):
        data = coded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert (pixels(data) == [255, 0, 0]).all(), kind


TURNED = {  # EXIF 2.3: where row 0 and column 0 of the stored image are in the scene
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_exif_orientation_is_obeyed(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    blocks = np.kron(PHOTO[:2, :3], np.ones((16, 16, 1))).astype(np.uint8)
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    out = pixels(coded(blocks, kind, exif=exif, **options)).astype(float)
    want = TURNED[orientation](blocks)
    assert out.shape == want.shape
    assert np.abs(out - want).mean() < (12 if kind == "JPEG" else 1e-9)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_exif_that_cannot_be_read_turns_nothing_and_warns_of_nothing(exif):
    assert (pixels(coded(PHOTO, exif=exif)) == PHOTO).all()


def test_an_orientation_out_of_range_is_none():
    exif = Image.Exif()
    exif[0x0112] = 9
    assert (pixels(coded(PHOTO, exif=exif)) == PHOTO).all()


def test_a_path_and_its_bytes_are_one_image(tmp_path):
    file = tmp_path / "a.txt"  # the name does not count
    file.write_bytes(coded(PHOTO))
    assert decode(file).tobytes() == decode(str(file)).tobytes() == PHOTO.tobytes()


def test_a_large_file_is_decoded_without_reading_it_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("ilk.images.decoding.open_file.MAX_IN_MEMORY", 10)
    for kind in ("PNG", "TIFF", "BMP"):
        file = tmp_path / kind
        file.write_bytes(coded(PHOTO, kind))
        assert (np.asarray(decode(file)) == PHOTO).all()


def test_a_thumbnail_keeps_the_proportions_and_never_grows():
    image = Image.new("RGB", (400, 100), "white")
    ImageDraw.Draw(image).rectangle((0, 0, 199, 99), fill="black")
    small = decode_thumbnail(coded(image), 40)
    assert small.size == (40, 10)
    assert np.asarray(small)[5, 5].tolist() == [0, 0, 0]
    assert np.asarray(small)[5, 35].tolist() == [255, 255, 255]
    assert decode_thumbnail(coded(PHOTO), 400).size == (17, 13)


def test_decoding_in_many_threads_gives_the_same_and_leaves_the_warnings_alone():
    data = [coded(PHOTO, exif=b"Exif\0\0garbage"), coded(RAMP), coded(PHOTO, "TIFF")]
    want = [decode(d).tobytes() for d in data]
    before = list(warnings.filters)
    wrong = []

    def work():
        for _ in range(20):
            wrong.extend(i for i, d in enumerate(data) if decode(d).tobytes() != want[i])

    threads = [threading.Thread(target=work) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert list(warnings.filters) == before
