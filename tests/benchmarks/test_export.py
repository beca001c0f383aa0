"""The benchmark of exported files runs small, and its held images have the forms they name."""

import io
import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")

from benchmarks.export import run as bench
from benchmarks.export.held_images import FORMS, ORIENTATION, change_form
from benchmarks.runner import shared_path
from ilk.core.errors import Unavailable


@pytest.fixture(scope="module")
def results():
    try:
        shared_path("data", "pacs_subset", "pacs_subset.tar.gz")
    except Unavailable as error:
        pytest.skip(str(error))
    return json.loads(json.dumps(bench.run(small=True)))


def test_small_compares_each_model_on_every_form(results):
    assert len(results["models"]) == 3
    assert all(model["different_names"] == 0 for model in results["models"])
    assert all(n > 0 for n in results["forms"].values())
    assert results["openvino"]["different_names"] == 0


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_what_it_says(form):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    content, suffix = change_form(buffer.getvalue(), form, np.random.default_rng(1))
    image = Image.open(io.BytesIO(content))
    facts = {
        "as it is": content == buffer.getvalue(),
        "odd size": image.size != (32, 40),
        "grey": image.mode == "L",
        "transparent": image.mode == "RGBA" and image.getextrema()[3] == (0, 255),
        "turned by EXIF": image.getexif().get(ORIENTATION, 1) > 1,
        "large": image.size == (1501, 999),
        "1:8": image.size == (61, 488),
        "palette": image.mode == "P",
    }
    assert facts[form]
    assert suffix == (".png" if image.format == "PNG" else ".jpg")
