"""An image can end the process that decodes it, and nothing else."""

import os
import signal
import time
import zlib
from pathlib import Path
from struct import pack

import numpy as np
import pytest
from PIL import Image

from helpers.served_model import make_png, with_limits
from ilk.images import ImageError, decode
from ilk.serve.decoding import Decoder


def make_large_png(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that declares many pixels."""

    def chunk(name, data):
        return pack(">I", len(data)) + name + data + pack(">I", zlib.crc32(name + data))

    rows = zlib.compress(b"\0" * (height * (width + 1)), 9)
    head = chunk(b"IHDR", pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture
def decoder():
    decoder = Decoder(with_limits(pixels=1_000_000))
    yield decoder
    decoder.close()


def test_pixels_are_those_that_a_fit_sees(decoder, tmp_path):
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    deep = rng.integers(0, 60_000, (20, 10), dtype=np.uint16)
    for name, image in (
        ("a.jpg", Image.fromarray(colours)),
        ("b.png", Image.fromarray(colours).convert("P")),
        ("c.tif", Image.fromarray(deep)),
    ):
        image.save(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        found = decoder.decode(content)
        assert found.image.tobytes() == decode(content).tobytes(), name
        assert (found.row.width, found.row.height) == image.size
    ranges = {"16-bit grey": (0.0, 60_000.0)}
    assert decoder.decode(content, ranges).image.size == (10, 20)


def test_what_cannot_be_decoded_has_the_reason_of_every_other_command(decoder):
    for content, reason in (
        (b"", "empty"),
        (b"text", "not an image"),
        (make_png()[:-20], "truncated"),
        (make_large_png(2_000, 2_000), "too large"),
    ):
        with pytest.raises(ImageError) as error:
            decoder.decode(content)
        assert error.value.reason == reason


def test_a_near_constant_image_is_noted(decoder):
    assert "near-constant" in decoder.decode(make_png(127)).row.detail


def test_an_image_that_needs_more_memory_than_allowed_is_refused():
    decoder = Decoder(with_limits(decode_bytes=400 * 2**20))
    try:
        with pytest.raises(ImageError, match=r"memory|crash"):
            decoder.decode(make_large_png(9_000, 7_000))
        assert decoder.decode(make_png()).image.size == (8, 8)
    finally:
        decoder.close()


def test_an_image_that_takes_too_long_is_refused_and_the_next_one_is_decoded(decoder):
    decoder.decode(make_png())
    decoder = Decoder(with_limits(decode_seconds=0.2))
    try:
        decoder.decode(make_png())
        worker = decoder._idle.get()
        decoder._idle.put(worker)
        os.kill(worker.start().pid, signal.SIGSTOP)  # as an endless loop would
        started_at = time.monotonic()
        with pytest.raises(ImageError, match=r"took longer than 0\.2 s"):
            decoder.decode(make_png())
        assert time.monotonic() - started_at < 15  # not the 20 s that a process gets to start
        assert decoder.decode(make_png()).image.size == (8, 8)
        assert decoder.n_killed == 1
    finally:
        decoder.close()


def test_a_process_that_is_killed_is_started_anew(decoder):
    decoder.decode(make_png())
    worker = decoder._idle.get()
    decoder._idle.put(worker)
    process = worker.start()
    process.kill()
    process.wait()
    assert decoder.decode(make_png()).image.size == (8, 8)
    assert worker.start().pid != process.pid


def test_a_thumbnail_is_a_small_jpeg(decoder):
    content = decoder.make_thumbnail(make_png(size=(400, 200)), 64)
    assert content[:2] == b"\xff\xd8"
    assert decode(content).size == (64, 32)


def test_the_process_can_write_no_file(decoder, tmp_path):
    decoder.decode(make_png())
    worker = decoder._idle.get()
    decoder._idle.put(worker)
    shown = Path(f"/proc/{worker.start().pid}/limits")
    if not shown.exists():
        pytest.skip("this system does not show the limits of a process")
    limits = shown.read_text()
    assert "Max file size             0" in limits
    assert f"Max address space         {decoder.limits.decode_bytes}" in limits
