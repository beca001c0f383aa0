"""`predict(ilk.read(...))` answers as `predict(...)` does: names, reasons and values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ilk
from helpers.archives import make_classes, make_png, write_archive, write_folder
from helpers.format_examples import save
from ilk.artifacts.classifier import Classifier
from ilk.images import read_images
from ilk.images.inspection.members import Member
from ilk.store import Store

FILES = {**make_classes(8), "dark/bad.png": b"no image", "light/cut.png": make_png(1)[:60]}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    home = tmp_path_factory.mktemp("fit")
    files = write_folder(home / "images", make_classes(8))
    store = Store(home / "store.sqlite")
    return ilk.fit(files, encoders=("pixels/8x8x1",), methods=("GDA",), store=store)


def describe(predictions: list[ilk.Prediction]) -> list[tuple[str, str, str, str]]:
    return sorted((p.path, p.name, p.error, p.note) for p in predictions)


@pytest.mark.parametrize("name", ["images.zip", "images.tar.gz", "images"])
def test_rows_have_the_names_and_reasons_of_the_source(
    classifier: Classifier, tmp_path: Path, name: str
) -> None:
    files = {**FILES, "../up.png": make_png(5)} if name != "images" else FILES
    write = write_archive if "." in name else write_folder
    source = write(tmp_path / name, files)
    store = Store(tmp_path / "store.sqlite")
    direct = describe(classifier.predict(source, store=store))
    read = describe(classifier.predict(read_images(source), store=store))
    assert read == direct
    assert (str(source / "dark/0.png"), "dark", "", "") in read
    if "." in name:
        (error,) = [error for path, _, error, _ in read if path.endswith("up.png")]
        assert "leads out of the archive" in error


def test_an_archive_that_changes_after_it_was_read_gives_errors(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_archive(tmp_path / "images.zip", make_classes(4))
    images = read_images(source)
    monkeypatch.setattr(Member, "read", lambda _member: make_png(500))
    predictions = classifier.predict(images, store=Store(tmp_path / "store.sqlite"))
    assert [p.path for p in predictions] == [str(source / name) for name in sorted(make_classes(4))]
    assert {p.error for p in predictions} == {
        "unreadable: the archive has changed since it was listed"
    }


def test_first_pages_are_noted_and_other_pages_can_still_be_asked_for(
    classifier: Classifier, tmp_path: Path
) -> None:
    pages = [Image.new("RGB", (8, 8), (40 * i, 0, 0)) for i in range(3)]
    scan = tmp_path / "scan.tif"
    pages[0].save(scan, save_all=True, append_images=pages[1:])
    store = Store(tmp_path / "store.sqlite")
    (one,) = classifier.predict(read_images([scan]), store=store)
    assert one.note == classifier.predict(scan, store=store).note != ""
    all_pages = classifier.stream(read_images([scan]), store=store, pages="all")
    assert [p.path for p in all_pages] == [f"{scan}[{i}]" for i in (1, 2, 3)]


def test_images_in_memory_keep_their_names(classifier: Classifier, tmp_path: Path) -> None:
    images = [np.full((8, 8, 3), level, np.uint8) for level in (60, 200)]
    predictions = classifier.predict(read_images(images), store=Store(tmp_path / "store.sqlite"))
    assert [(p.path, p.name) for p in predictions] == [("image 0", "dark"), ("image 1", "light")]


@pytest.mark.parametrize("form", ["archive", "memory", "files"])
@pytest.mark.parametrize("wish", ["auto", "0-999"])
def test_the_range_of_the_model_replaces_that_of_reading(
    tmp_path: Path, form: str, wish: str
) -> None:
    def draw(level: int, seed: int) -> Image.Image:
        noise = np.random.default_rng(seed).integers(0, 99, (8, 8))
        return Image.fromarray((level + noise).astype(np.uint16))

    images = [draw(level, i) for i in range(6) for level in (900, 3900)]
    store = Store(tmp_path / "store.sqlite")
    fitted = ilk.fit(
        images, labels=["dark", "light"] * 6, encoders=("pixels/8x8x1",), methods=("GDA",),
        store=store,
    )  # fmt: skip
    new = [draw(level, 50 + level) for level in (880, 901, 3700)]
    files = {f"{i}.png": save(image, "PNG") for i, image in enumerate(new)}
    source: Any = new
    if form == "archive":
        source = write_archive(tmp_path / "new.zip", files)
    elif form == "files":
        source = write_folder(tmp_path / "new", files)
    want = [p.unknown_score for p in fitted.predict(new, store=store)]
    fresh = Store(tmp_path / "fresh.sqlite")
    read = fitted.predict(read_images(source, value_range=wish), store=fresh)
    assert [p.unknown_score for p in read] == want
    assert [p.name for p in read] == ["dark", "dark", "light"]


@pytest.mark.parametrize("pages", ["first", "all"])
def test_a_model_without_a_range_takes_archives_that_were_read_with_one(
    classifier: Classifier, tmp_path: Path, pages: str
) -> None:
    images = [Image.fromarray(np.full((8, 8), 900 * i, np.uint16)) for i in range(1, 5)]
    scan = save(images[0], "TIFF", save_all=True, append_images=images[1:3])
    files = {"a.png": save(images[3], "PNG"), "scan.tif": scan}
    source = write_archive(tmp_path / "deep.zip", files)
    read = read_images(source, pages=pages, value_range="0-4095")
    answers = classifier.predict(read, store=Store(tmp_path / "a.sqlite"))
    want = list(classifier.stream(source, store=Store(tmp_path / "b.sqlite"), pages=pages))
    assert [p.error for p in answers] == [""] * (4 if pages == "all" else 2)
    assert [(p.path, p.unknown_score) for p in answers] == [(p.path, p.unknown_score) for p in want]
