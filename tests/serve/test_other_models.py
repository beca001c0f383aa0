"""Models with several labels, and encoders that are classifiers themselves, are served as well."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import ilk
from benchmarks.saved_classifier import FeatureSet
from helpers.encoder_examples import diffusion_classifier
from helpers.served_model import CLASSES
from ilk.artifacts.multi_label_prediction import to_row
from ilk.artifacts.prediction_io import to_row as to_single_row
from ilk.core.data import Data
from ilk.encoders import resolve_encoder
from ilk.encoders.combined import combine_encoders
from ilk.images import decode
from ilk.methods import parse
from ilk.store import Store


def write_photos(home, n=24):
    """Images that are bright, or red, or both or neither."""
    rng = np.random.default_rng(0)
    lines = ["path,labels"]
    for i in range(n):
        bright, red = bool(i & 1), bool(i & 2)
        pixels = rng.integers(0, 90, (12, 12, 3)) + 120 * bright
        pixels[..., 0] += 40 * red
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(home / f"{i}.png")
        labels = ";".join(name for name, on in (("bright", bright), ("red", red)) if on)
        lines.append(f"{i}.png,{labels}")
    (home / "table.csv").write_text("\n".join(lines) + "\n")
    return home / "table.csv"


def test_a_model_with_several_labels(make_client, tmp_path):
    table = write_photos(tmp_path)
    store = Store(tmp_path / "s.sqlite")
    images = ilk.read(table, multi_label=True)
    classifier = ilk.fit(images, encoders="pixels", methods="Ridge", multi_label=True, store=store)
    client = make_client(classifier.save(tmp_path / "kinds"))
    photos = [(tmp_path / f"{i}.png").read_bytes() for i in range(6)]
    files = [("image", (f"image {i}", photo)) for i, photo in enumerate(photos)]
    rows = client.post("/predict", files=files).json()["predictions"]
    expected = [to_row(p) for p in classifier.predict(photos, store=store)]
    for row, wanted in zip(rows, expected, strict=True):
        assert row["names"] == wanted["names"]
        assert row["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-4)
    model = client.get("/model").json()
    assert (model["kind"], model["correctable"]) == ("multi-label", False)
    refused = client.post("/corrections", files={"image": photos[0]}, data={"label": "red"})
    assert refused.status_code == 409
    assert "several labels per image" in refused.json()["detail"]
    assert client.get("/").status_code == 200


def test_a_combination_of_encoders(make_client, tmp_path, digits_home):
    store = Store(tmp_path / "s.sqlite")
    hog, pixels = (resolve_encoder(name) for name in ("hog/16", "pixels/4x4x1"))
    photos = sorted((digits_home / "photos").rglob("*.png"))
    encoder = combine_encoders((hog, pixels))
    x = encoder.embed(np.stack([encoder.prepare(decode(path)) for path in photos]))
    y = np.array([CLASSES.index(path.parent.name) for path in photos])
    fitted = FeatureSet.from_data(Data(x, y, CLASSES)).fit(parse("GDA()"))
    classifier = replace(fitted, encoder=encoder)
    client = make_client(classifier.save(tmp_path / "kinds"))
    image = photos[30].read_bytes()
    row = client.post("/predict", files={"image": ("a", image)}).json()["predictions"][0]
    wanted = to_single_row(classifier.predict(image, store=store))
    assert row["name"] == wanted["name"]
    assert row["probability"] == pytest.approx(wanted["probability"], abs=1e-4)


def test_a_diffusion_classifier(make_client, tmp_path, monkeypatch, digits_home):
    name = diffusion_classifier.make(tmp_path, monkeypatch)
    photos = sorted((digits_home / "photos").rglob("*.png"))[:30]
    encoder = resolve_encoder(name)
    x = encoder.embed(np.stack([encoder.prepare(decode(path)) for path in photos]))
    y = np.arange(len(photos)) % len(encoder.classes)
    fitted = FeatureSet.from_data(Data(x, y, encoder.classes)).fit(parse("DiffusionClassifier()"))
    classifier = replace(fitted, encoder=encoder, summary_statistics=None)
    client = make_client(classifier.save(tmp_path / "kinds"))
    image = photos[3].read_bytes()
    row = client.post("/predict", files={"image": ("a", image)}).json()["predictions"][0]
    wanted = classifier.predict(image, store=Store(tmp_path / "s.sqlite"))
    assert row["name"] == wanted.name
    assert row["probability"] == pytest.approx(wanted.probability, abs=1e-3)
    assert "pretrain it with the new class" in client.get("/model").json()["reason"]
