"""The benchmark of the server runs small: every part measures what it says, without failures."""

import io

import pytest
from PIL import Image

from benchmarks.runner import shared_path
from benchmarks.serving.client import make_unique
from benchmarks.serving.run import run
from ilk.core.errors import Unavailable


def test_small_measures_every_part():
    try:
        shared_path("data", "pacs_subset", "pacs_subset.tar.gz")
    except Unavailable as error:
        pytest.skip(str(error))
    result = run(small=True)
    throughput = result["throughput"]
    assert throughput["requests"] == 16
    assert throughput["failures"] == result["steady"]["failures"] == 0
    assert result["correction"]["failures"] == 0
    assert set(result["memory"]["statuses"]) == {"200", "422"}
    assert len(result["memory"]["megabytes_after_each_tenth"]) == 10
    assert result["fuzz"].get("server_errors", 0) == 0
    assert throughput["ratio"]["mean"] > 0


def test_images_are_new_by_their_bytes_and_the_same_by_their_pixels():
    file = io.BytesIO()
    Image.effect_noise((16, 16), 50).convert("RGB").save(file, "JPEG")
    first, second = make_unique(file.getvalue(), 1), make_unique(file.getvalue(), 2)
    assert first != second
    pixels = {Image.open(io.BytesIO(b)).tobytes() for b in (file.getvalue(), first, second)}
    assert len(pixels) == 1
