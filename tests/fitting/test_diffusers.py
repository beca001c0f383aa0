"""A checkpoint in the format of diffusers, from a folder of images to a saved classifier."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from helpers import tiny_diffusers as tiny
from ilk.artifacts.load_classifier import load
from ilk.core.errors import InputError
from ilk.diffusion.classification.context import ClassificationContext
from ilk.encoders import resolve_encoder, restore_encoder
from ilk.fitting.fit import FitConfig, fit, fit_with_report
from ilk.images import read_images
from ilk.store import Store

CLASSES = ("cat", "dog", "owl")
FEW = "@strategy=naive,levels=2"


@pytest.fixture(scope="module")
def stable(tmp_path_factory):
    return tiny.stable(tmp_path_factory.mktemp("hub") / "stable")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    home, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name in CLASSES:
        (home / name).mkdir()
        for i in range(4):
            pixels = rng.integers(0, 256, (20, 24, 3), np.uint8)
            Image.fromarray(pixels).save(home / name / f"{i}.png")
    return home


@pytest.fixture
def store(tmp_path):
    held = Store(tmp_path / "store.sqlite")
    yield held
    held.close()


def test_a_text_to_image_pipeline_is_fitted_saved_and_asked_again(
    stable, pictures, store, tmp_path, monkeypatch
):
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "store.sqlite"))
    asked = FitConfig(
        encoders=("pixels",), classifiers=(f"diffusion:{stable}{FEW}",), methods=("GDA",)
    )
    images = read_images(pictures, store=store)
    classifier, report_data = fit_with_report(images, asked, store=store)
    row = next(r for r in report_data.results if r.encoder.startswith("diffusion-classifier"))
    assert row.scores is not None
    alone = FitConfig(encoders=(f"diffusion-classifier:{stable}{FEW}",))
    classifier = fit(read_images(pictures, store=store), alone, store=store)
    home = classifier.save(tmp_path / "kinds")
    files = sorted(pictures.glob("*/*.png"))
    told = [p.name for p in load(home).predict(files, store=store)]
    assert told == [p.name for p in classifier.predict(files, store=store)]
    assert set(told) <= set(CLASSES)


def test_latents_and_prompts_are_read_once_for_good(stable, store):
    among = ClassificationContext(CLASSES, ("a photo of a {}.",), store)
    encoder = resolve_encoder(f"diffusion-classifier:{stable}{FEW}", context=among)
    rng = np.random.default_rng(1)
    pictures = [Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)) for _ in range(3)]
    x = np.stack([encoder.prepare(picture) for picture in pictures])
    first = encoder.embed(x)
    latents = encoder.source.checkpoint.latents
    latents.embed = None  # an autoencoder that is asked again would fail
    np.testing.assert_allclose(encoder.embed(x), first)
    assert first.shape == (3, 3)


def test_classes_and_prompts_belong_to_its_address(stable, store):
    def key(classes, prompt="a photo of a {}."):
        among = ClassificationContext(classes, (prompt,), store)
        return resolve_encoder(f"diffusion-classifier:{stable}{FEW}", context=among).space.key

    assert len({key(CLASSES), key(("dog", "cat")), key(CLASSES, "a sketch of a {}.")}) == 3
    encoder = resolve_encoder(
        f"diffusion-classifier:{stable}{FEW}", context=ClassificationContext(CLASSES, store=store)
    )
    assert restore_encoder(encoder.describe()).space == encoder.space


def test_it_shows_where(stable, store):
    encoder = resolve_encoder(
        f"diffusion-classifier:{stable}{FEW}", context=ClassificationContext(CLASSES, store=store)
    )
    shown = encoder.prepare(Image.new("RGB", (30, 20), (200, 30, 30)))
    assert isinstance(encoder.explain(shown, 0, 2), Image.Image)


def test_what_cannot_classify_says_why(stable, store, tmp_path):
    with pytest.raises(InputError, match="class"):
        resolve_encoder(f"diffusion-classifier:{stable}")
    blind = tiny.unet(tmp_path / "unet")
    with pytest.raises(InputError, match="class"):
        resolve_encoder(f"diffusion-classifier:{blind}", context=ClassificationContext(store=store))


def test_a_class_conditional_network_on_pixels(store, tmp_path):
    folder = tiny.unet(tmp_path / "unet", 3)
    encoder = resolve_encoder(
        f"diffusion-classifier:{folder}{FEW}", context=ClassificationContext(CLASSES, store=store)
    )
    grey = np.random.default_rng(0).integers(0, 256, (2, 1, 8, 8), np.uint8)
    assert encoder.embed(grey).shape == (2, 3)


@pytest.mark.parametrize("kind", ["stable", "unet", "dit"])
def test_features_of_a_checkpoint(kind, stable, tmp_path):
    made = {"stable": lambda: stable, "unet": lambda: tiny.unet(tmp_path / "u")}
    folder = made.get(kind, lambda: tiny.dit(tmp_path / "d", {0: "a", 1: "b", 2: "c"}))()
    encoder = resolve_encoder(f"diffusion:{folder}")
    x = np.stack([encoder.prepare(Image.new("RGB", (20, 20), (c, 9, 9))) for c in (0, 90, 200)])
    found = encoder.embed(x)
    assert found.shape == (3, encoder.space.dim)
    np.testing.assert_allclose(encoder.embed(x[1:2])[0], found[1], rtol=1e-3, atol=1e-4)
    again = restore_encoder(encoder.describe())
    assert again.space == encoder.space
    assert "@block=" in encoder.name
    other = resolve_encoder(f"diffusion:{folder}@block=1,sigma=0.5,pool=1")
    assert other.embed(x).shape == (3, other.space.dim)
    assert other.space != encoder.space
    with pytest.raises(InputError, match="block"):
        resolve_encoder(f"diffusion:{folder}@block=99,sigma=0.5")
