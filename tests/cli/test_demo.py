"""The demo contains exactly the faults that it lists."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError
from sklearn.datasets import load_digits

from ilk.core.errors import OutputError
from ilk.demo import PlantedFaults, make_demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PlantedFaults]:
    home = tmp_path_factory.mktemp("demo")
    return home / "digits", make_demo(home)


def test_every_digit_is_written_once_with_its_pixels(demo: tuple[Path, PlantedFaults]) -> None:
    home, planted = demo
    bunch = load_digits()
    files = sorted(p for p in home.rglob("*.png") if p.stem.isdigit())
    assert len(files) == planted.n_images == 1797
    test = [p for p in files if p.parts[-3] == "test"]
    assert len(test) == 540
    for path in files[::97]:
        np.testing.assert_array_equal(
            np.asarray(Image.open(path)), np.round(bunch.images[int(path.stem)] * 255 / 16)
        )


def test_two_percent_of_the_training_labels_are_wrong_and_no_test_label(
    demo: tuple[Path, PlantedFaults],
) -> None:
    home, planted = demo
    target = load_digits().target
    wrong = {
        f"{p.parts[-3]}/{p.parts[-2]}/{p.name}"
        for p in home.rglob("*.png")
        if p.stem.isdigit() and str(target[int(p.stem)]) != p.parent.name
    }
    assert wrong == set(planted.mislabelled)
    assert len(wrong) == 25
    assert all(path.startswith("train/") for path in wrong)


def test_broken_files_cannot_be_opened(demo: tuple[Path, PlantedFaults]) -> None:
    home, planted = demo
    for name in planted.unreadable:
        with pytest.raises((UnidentifiedImageError, OSError, SyntaxError)):
            Image.open(BytesIO((home / name).read_bytes())).load()


def test_leaked_and_conflicting_files_are_copies(demo: tuple[Path, PlantedFaults]) -> None:
    home, planted = demo
    by_content: dict[bytes, list[str]] = {}
    for path in home.rglob("*.png"):
        content = hashlib.sha256(path.read_bytes()).digest()
        by_content.setdefault(content, []).append(path.relative_to(home).as_posix())
    twice = [names for names in by_content.values() if len(names) > 1]
    across = [n for n in twice if {x.split("/")[0] for x in n} == {"train", "test"}]
    assert {x for n in across for x in n if x.startswith("train/")} == set(planted.leaked)
    assert sorted(planted.conflicting) in [sorted(n) for n in twice]


def test_the_same_seed_gives_the_same_folder(
    tmp_path: Path, demo: tuple[Path, PlantedFaults]
) -> None:
    assert make_demo(tmp_path / "again") == demo[1]


def test_a_folder_with_other_files_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "mine.txt").write_text("do not delete")
    with pytest.raises(OutputError, match="other files"):
        make_demo(tmp_path)
    assert (tmp_path / "digits" / "mine.txt").read_text() == "do not delete"
