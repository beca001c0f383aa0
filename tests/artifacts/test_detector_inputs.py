"""An anomaly detector takes the same images as a classifier."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ilk.core.errors import InputError, NoImages
from ilk.encode import encode_images
from ilk.fitting.detector import fit_detector
from ilk.images import read_images
from ilk.images.pixels import PixelEncoder
from ilk.store import Store


def test_images_in_memory_are_scored_as_their_files_are(tmp_path):
    store, encoder = Store(tmp_path / "store.sqlite"), PixelEncoder(4, 4, 1)
    arrays = np.random.default_rng(0).integers(90, 110, (30, 8, 8), np.uint8)
    images = read_images(list(arrays))
    encode_images(images, [encoder], store)
    detector = fit_detector(images, encoder, store, method="GaussianAnomaly()", false_alarm=0.1)
    arrays[3] = 255
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, array in enumerate(arrays[:9]):
        Image.fromarray(array).save(folder / f"{i}.png")
    wanted = [result.score for result in detector.detect(folder, store)]
    files = sorted(folder.iterdir())
    for inputs in (files, [folder], arrays[:9, ..., None], list(arrays[:9]), map(str, files)):
        results = detector.detect(inputs, store)
        np.testing.assert_allclose([result.score for result in results], wanted)
        assert results[3].is_anomaly
    assert [r.row.path for r in detector.detect(arrays[:2, ..., None], store)] == [
        "image 0",
        "image 1",
    ]
    with pytest.raises(InputError, match="array of float64"):
        detector.detect(arrays / 255, store)
    with pytest.raises(NoImages, match="there is no file"):
        detector.detect([], store)
