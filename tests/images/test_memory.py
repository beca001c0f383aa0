"""Memory is bounded for one image and over all threads."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from ilk.images.decoding.memory import PixelBudget
from ilk.images.rows.refused import ImageError

decoding = import_module(
    "ilk.images.decoding.decode"
)  # the package exports its function of that name
samples = import_module("ilk.images.decoding.samples")


def save(image, kind="PNG"):
    file = BytesIO()
    image.save(file, kind)
    return file.getvalue()


def test_threads_hold_no_more_pixels_than_the_budget():
    budget, held, most = PixelBudget(100), 0, 0
    lock = threading.Lock()

    def work(n):
        nonlocal held, most
        with budget.reserve(n):
            with lock:
                held += n
                most = max(most, held)
            time.sleep(0.002)
            with lock:
                held -= n

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [30, 50, 20, 60, 100, 10, 90, 40] * 5))
    assert 60 <= most <= 100
    assert held == 0


def test_an_image_beyond_the_budget_is_decoded_alone_and_an_error_releases_it():
    budget = PixelBudget(10)
    with pytest.raises(ZeroDivisionError), budget.reserve(1000):
        raise ZeroDivisionError
    with budget.reserve(1000):
        entered = threading.Event()

        def enter():
            with budget.reserve(1):
                entered.set()

        thread = threading.Thread(target=enter)
        thread.start()
        assert not entered.wait(0.05)
    assert entered.wait(5)
    thread.join()


@pytest.mark.parametrize("size", [(65_536, 1), (1, 65_536)])
def test_a_side_that_is_too_long_is_refused(size):
    with pytest.raises(ImageError, match="a side may have 65,535 pixels"):
        decoding.decode(save(Image.new("L", size)))
    decoding.decode(save(Image.new("L", (min(size[0], 65_535), min(size[1], 65_535)))))


def images():
    rng = np.random.default_rng(0)
    floats = rng.normal(size=(31, 17)).astype(np.float32)
    floats[3, 4], floats[20, 1] = np.nan, np.inf
    return {
        "RGBA": Image.fromarray(rng.integers(0, 256, (31, 17, 4), np.uint8)),
        "LA": Image.fromarray(rng.integers(0, 256, (31, 17, 2), np.uint8)),
        "I;16": Image.fromarray(rng.integers(0, 65_536, (31, 17), np.uint16)),
        "F": Image.fromarray(floats),
    }


@pytest.mark.parametrize("mode", ["RGBA", "LA", "I;16", "F"])
def test_strips_change_no_pixel(mode, monkeypatch):
    content = save(images()[mode], "TIFF" if mode == "F" else "PNG")
    whole = np.asarray(decoding.decode(content))
    monkeypatch.setattr(samples, "STRIP_PIXELS", 40)
    np.testing.assert_array_equal(np.asarray(decoding.decode(content)), whole)
    assert whole.std() > 10
