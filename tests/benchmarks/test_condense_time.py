"""The time of `ilk condense`: the command runs as a user types it."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.condense_time import run as timed


@pytest.fixture
def archive(monkeypatch):
    rng = np.random.default_rng(0)

    def iterate(*_parts):
        for split in ("test", "train"):
            for label in ("cat", "dog"):
                for i in range(60):
                    buffer = io.BytesIO()
                    pixels = rng.integers(0, 128, (32, 32, 3)) + 100 * (label == "dog")
                    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG")
                    yield f"{split}/{label}/{i}.jpg", buffer.getvalue()

    monkeypatch.setattr(timed, "iterate_archive", iterate)


def test_training_images_alone_are_written(archive, tmp_path):
    assert timed.write_images(tmp_path / "photos", 50) == 100
    assert len(list((tmp_path / "photos" / "dog").iterdir())) == 50


def test_the_command_runs(archive, monkeypatch):
    original = timed.write_images
    monkeypatch.setattr(timed, "write_images", lambda folder, _n: original(folder, 60))
    result = json.loads(json.dumps(timed.run(small=True), allow_nan=False))
    assert result["images"] == 120
    assert result["written"] == 4
    assert result["within_limit"]
    assert set(result["report"]["lost"]) == {"network", "head"}
