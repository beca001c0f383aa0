"""What gives no image is refused with its reason, and nothing else is raised."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageFile

from ilk.images import REASONS, ImageError, decode, inspect_file

RNG = np.random.default_rng(1)
NOISE = Image.fromarray(RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8))


def coded(image, kind="PNG", **options):
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


FILES = {
    "jpeg": coded(NOISE, "JPEG"),
    "progressive": coded(NOISE, "JPEG", progressive=True),
    "png": coded(NOISE),
    "webp": coded(NOISE, "WEBP"),
    "webp-lossless": coded(NOISE, "WEBP", lossless=True),
    "gif": coded(NOISE, "GIF"),
    "bmp": coded(NOISE, "BMP"),
    "tiff": coded(NOISE, "TIFF"),
    "tiff-lzw": coded(NOISE, "TIFF", compression="tiff_lzw"),
    "tiff-jpeg": coded(NOISE, "TIFF", compression="jpeg"),
}


def refusal(data, **options):
    with pytest.raises(ImageError) as caught:
        decode(data, **options)
    assert caught.value.reason in REASONS
    return caught.value


def png_of(width, height, depth=1):
    """A PNG that claims a size and holds next to nothing."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + body


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_is_truncated(name):
    data = FILES[name]
    decode(data)
    spare = 2 if name == "gif" else 0  # a GIF's last two bytes say only that nothing follows
    for at in (
        4,
        11,
        12,
        13,
        len(data) // 8,
        len(data) // 2,
        len(data) - 50,
        len(data) - spare - 1,
    ):
        assert refusal(data[:at]).reason == "truncated", at


@pytest.mark.parametrize("name", FILES)
def test_bytes_after_the_end_do_no_harm(name):
    want = decode(FILES[name]).tobytes()
    assert decode(FILES[name] + b"\0" * 9 + b"appended by a camera").tobytes() == want


@pytest.mark.parametrize("name", FILES)
def test_damage_gives_an_image_or_a_refusal_and_never_another_error(name):
    rng, told = np.random.default_rng(2), []
    for _ in range(60):
        data = bytearray(FILES[name])
        for at in rng.integers(0, len(data), 6):
            data[at] ^= int(rng.integers(1, 256))
        try:
            image = decode(bytes(data), max_pixels=10**6)
        except ImageError as caught:
            told.append((caught.reason, caught.detail))
        else:
            assert image.mode == "RGB"
    assert all(reason in REASONS and detail for reason, detail in told)


def test_an_altered_png_is_never_taken():
    """Each byte of a PNG is under a checksum, so not one may change unseen."""
    rng = np.random.default_rng(3)
    for at in rng.integers(8, len(FILES["png"]), 100):
        data = bytearray(FILES["png"])
        data[at] ^= 1 << int(rng.integers(8))
        refusal(bytes(data))


def test_a_png_whose_checksum_was_altered_is_damaged():
    data = bytearray(FILES["png"])
    data[data.index(b"IEND") - 5] ^= 1  # the last byte of the checksum of the pixels
    assert "wrong checksum in IDAT" in refusal(bytes(data)).detail


@pytest.mark.parametrize("on", [True, False])
def test_pillow_told_to_fill_with_grey_changes_nothing(monkeypatch, on):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", on)
    for name, data in FILES.items():
        decode(data)
        assert refusal(data[: len(data) // 2]).reason == "truncated", name


@pytest.mark.parametrize(
    "data",
    [b"hello", b"%PDF-1.7\n%\xe2\xe3", b"<svg xmlns=''/>", b"\0" * 500, b"RIFF\0\0\0\0WAVEfmt "],
)
def test_what_is_no_image_is_called_so(data):
    assert refusal(data).reason == "not an image"


def test_nothing_is_empty():
    assert refusal(b"").reason == "empty"


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"8BPS\0\x01", "Photoshop"),
        (b"\0\0\0\x0cJXL \r\n", "JPEG XL"),
        (b"\0\0\1\0", "icon"),
        (b"P7\n", "PAM"),
    ],
)
def test_formats_that_are_not_read_are_named(head, name):
    refused = refusal(head + b"\0" * 40)
    assert refused.reason == "unreadable"
    assert name in refused.detail
    assert "convert" in refused.detail


def test_a_bomb_is_refused_from_its_header():
    refused = refusal(png_of(50_000, 50_000))
    assert refused.reason == "too large"
    assert "50000 × 50000" in refused.detail


def test_the_limit_is_the_one_that_was_asked_for():
    data = coded(NOISE)
    assert decode(data, max_pixels=2400).size == (60, 40)
    assert refusal(data, max_pixels=2399).reason == "too large"


def test_an_image_above_pillows_own_warning_and_below_the_limit_is_taken(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)  # Pillow warns at 2400 and stops at 3000
    for data in FILES.values():
        assert decode(data).size == (60, 40)


def test_no_decoder_sees_a_bomb(monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    assert refusal(png_of(20_000, 20_000)).reason == "too large"


def test_no_memory_is_no_lasting_verdict(monkeypatch):
    def load(_self):
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    refused = refusal(coded(NOISE, "BMP"))
    assert (refused.reason, refused.is_permanent) == ("too large", False)


def test_a_file_that_is_not_there_and_a_folder(tmp_path):
    assert refusal(tmp_path / "none.png").reason == "missing"
    assert refusal(tmp_path).detail == "a folder"


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    file = tmp_path / "a.png"
    file.write_bytes(FILES["png"])

    def barred(*_a, **_k):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", barred)
    refused = refusal(file)
    assert (refused.reason, refused.detail, refused.is_permanent) == (
        "unreadable",
        "Permission denied",
        False,
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_named_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert refusal(tmp_path / "pipe.png").reason == "unreadable"


def test_inspect_tells_what_the_header_says_and_nothing_more(tmp_path):
    file = tmp_path / "a.jpg"
    file.write_bytes(FILES["jpeg"][:-100])
    row = inspect_file(file)
    assert row.status == "used"  # its header is whole; only decoding finds the rest missing
    assert (row.width, row.height, row.mode, row.format) == (60, 40, "RGB", "JPEG")
    assert row.size == len(FILES["jpeg"]) - 100
    assert row.digest == hashlib.sha256(FILES["jpeg"][:-100]).hexdigest()
    assert inspect_file(tmp_path / "b.jpg").reason == "missing"
    assert inspect_file(file, max_pixels=100).reason == "too large"
