"""The public Python API."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ilk
from helpers.digit_folders import write_digits
from ilk.fitting.fit import FitConfig
from ilk.store import Store

CONFIG = FitConfig(encoders=("pixels",), methods=("GDA", "KNearest(k=3)"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("d"), {"zero 0": 30, "one 1": 25, "six 6": 20})


@pytest.fixture(scope="module")
def fitted(home: Path) -> ilk.Classifier:
    return ilk.fit(ilk.read(home), CONFIG)


def test_public_names_are_sorted_and_exist() -> None:
    assert list(ilk.__all__) == sorted(ilk.__all__)
    assert all(getattr(ilk, name) is not None for name in ilk.__all__)
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        _ = ilk.fitt


def test_fit_remains_a_function_after_imports() -> None:
    code = (
        "import ilk.fitting.fit, ilk.artifacts.classifier, ilk;"
        "assert callable(ilk.fit) and callable(ilk.load)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_saved_classifier_gives_the_same_predictions(
    fitted: ilk.Classifier, home: Path, tmp_path: Path
) -> None:
    files = sorted(home.rglob("*.png"))[::5]
    before = fitted.predict(files)
    after = ilk.load(fitted.save(tmp_path / "kinds")).predict(files)
    assert before == after
    right = [row.name == file.parent.name for row, file in zip(after, files, strict=True)]
    assert np.mean(right) > 0.8


def test_predictions_agree_with_the_parts_of_the_classifier(
    fitted: ilk.Classifier, home: Path
) -> None:
    images = ilk.read(home)
    x = Store().get(fitted.encoder.space, [row.digest for row in images.used])
    scored = fitted.score_batch(x)
    np.testing.assert_allclose(scored.probabilities.sum(1), 1)
    rows = fitted.predict([images.path_of(row) for row in images.used])
    best = scored.probabilities.argmax(1)
    assert [row.name for row in rows] == [fitted.classes[c] for c in best]
    assert [row.is_unknown for row in rows] == (
        fitted.ood_detector.score(x) > fitted.ood_detector.threshold
    ).tolist()
    for row, members in zip(rows, scored.prediction_sets, strict=True):
        assert set(row.prediction_set) == {fitted.classes[c] for c in np.flatnonzero(members)}


def test_held_out_images_do_not_influence_the_model(tmp_path: Path) -> None:
    """The same training images with other test images give the same model, bit for bit."""
    kinds = {"a1": 20, "b2": 20}
    for name, seed in (("first", 7), ("second", 8)):
        write_digits(tmp_path / name / "train", kinds, seed=0)
        write_digits(tmp_path / name / "test", {"a4": 5, "b5": 5}, seed=seed)
        for old in ("a4", "b5"):
            (tmp_path / name / "test" / old).rename(
                tmp_path / name / "test" / f"{old[0]}{'12'[old == 'b5']}"
            )
    first, second = (
        ilk.fit(ilk.read(tmp_path / name), CONFIG).save(tmp_path / f"{name}-kinds")
        for name in ("first", "second")
    )
    weights = [(folder / "model.safetensors").read_bytes() for folder in (first, second)]
    assert weights[0] == weights[1]


def test_an_endless_stream_is_predicted_block_by_block(
    fitted: ilk.Classifier, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ilk.artifacts.image_blocks.BLOCK_SIZE", 4)
    file = next(home.rglob("*.png"))
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield file

    stream = fitted.stream(endless())
    assert [next(stream).error for _ in range(6)] == [""] * 6
    assert taken == 8


def test_a_single_path_gives_a_single_prediction(fitted: ilk.Classifier, home: Path) -> None:
    file = next(home.rglob("*.png"))
    assert [fitted.predict(str(file))] == fitted.predict([str(file)]) == [fitted.predict(file)]


def test_one_line_fits_a_folder_as_reading_it_first_does(
    fitted: ilk.Classifier, home: Path, tmp_path: Path
) -> None:
    one_line = ilk.fit(home, encoders="pixels", methods=("GDA", "KNearest(k=3)"))
    as_text = ilk.fit(str(home), CONFIG, folds=5)
    weights = {
        (classifier.save(tmp_path / name) / "model.safetensors").read_bytes()
        for name, classifier in (("a", fitted), ("b", one_line), ("c", as_text))
    }
    assert len(weights) == 1


def test_features_of_another_encoder_are_refused(fitted: ilk.Classifier) -> None:
    with pytest.raises(ilk.IlkError, match="come from another encoder"):
        fitted.score_batch(np.zeros((2, 7), np.float32))
