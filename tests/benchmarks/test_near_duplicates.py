"""The benchmark of near-duplicates measures what it says, in a reduced form."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from benchmarks.near_duplicates import hashes, patients, run, variants
from ilk.core.errors import Unavailable


def picture(seed):
    cells = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(cells).resize((90, 70), Image.Resampling.BICUBIC)


def test_variants_keep_the_picture_and_change_its_pixels():
    image, rng = picture(0), np.random.default_rng(0)
    for kind, vary in variants.VARIANTS.items():
        changed = vary(image, rng)
        assert changed.mode == "RGB", kind
        assert changed.size != image.size or changed.tobytes() != image.tobytes(), kind


@pytest.mark.parametrize("method", hashes.METHODS)
def test_every_method_finds_a_copy_among_others(method):
    images = [picture(seed) for seed in range(12)]
    pairs = hashes.METHODS[method]([*images, images[3].resize((45, 35))])
    assert pairs == {(3, 12)}


def test_the_accuracy_of_patients_falls_to_that_of_new_ones(tmp_path):
    row = patients.measure(tmp_path, 0, 0.33, 16)
    assert row["dealt one by one"] > 0.85
    assert abs(row["clusters held together"] - row["new patients"]) < 0.25
    assert row["coverage on new patients, clusters held together"] > 0.7
    assert row["coverage on new patients, dealt one by one"] < 0.5


def test_the_reduced_form_runs():
    try:
        pictures = run._read("MNIST")[:300]
    except Unavailable as error:
        pytest.skip(str(error))
    rows = run._compare("MNIST", pictures, 60, 5, 1)
    assert rows[0]["precision"]["mean"] > 0.9
    assert rows[0]["recall"]["JPEG, quality 40 to 95"]["mean"] == 1
