"""ilk as a library: the names that are promised, and the whole road in five lines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ilk
from conftest import write_digits
from ilk.fitting import Plan
from ilk.store import Store

PLAN = Plan(encoders=("pixels",), methods=("GDA", "KNearest(k=3)"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("d"), {"zero 0": 30, "one 1": 25, "six 6": 20})


@pytest.fixture(scope="module")
def fitted(home: Path) -> ilk.Classifier:
    return ilk.fit(ilk.read(home), PLAN)


def test_the_public_names_are_sorted_and_each_is_there() -> None:
    assert list(ilk.__all__) == sorted(ilk.__all__)
    assert all(getattr(ilk, name) is not None for name in ilk.__all__)
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        _ = ilk.fitt


def test_fit_stays_a_function_whatever_was_imported() -> None:
    code = (
        "import ilk.fitting, ilk.classifier, ilk; assert callable(ilk.fit) and callable(ilk.load)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_saved_classifier_answers_as_it_did(
    fitted: ilk.Classifier, home: Path, tmp_path: Path
) -> None:
    files = sorted(home.rglob("*.png"))[::5]
    before = fitted.predict(files)
    after = ilk.load(fitted.save(tmp_path / "kinds")).predict(files)
    assert before == after
    right = [row.name == file.parent.name for row, file in zip(after, files, strict=True)]
    assert np.mean(right) > 0.8


def test_probabilities_sets_and_unknowns_follow_from_the_parts(
    fitted: ilk.Classifier, home: Path
) -> None:
    images = ilk.read(home)
    x = Store().get(fitted.encoder.space, [row.digest for row in images.used])
    judged = fitted.judge(x)
    np.testing.assert_allclose(judged.probabilities.sum(1), 1)
    rows = fitted.predict([images.file(row) for row in images.used])
    best = judged.probabilities.argmax(1)
    assert [row.name for row in rows] == [fitted.classes[c] for c in best]
    assert [row.unknown for row in rows] == (
        fitted.unknown.score(x) > fitted.unknown.threshold
    ).tolist()
    for row, members in zip(rows, judged.sets, strict=True):
        assert set(row.names) == {fitted.classes[c] for c in np.flatnonzero(members)}


def test_nothing_of_the_held_out_part_reaches_the_model(tmp_path: Path) -> None:
    """The same training part with other test images gives the same model, bit for bit."""
    kinds = {"a1": 20, "b2": 20}
    for name, seed in (("first", 7), ("second", 8)):
        write_digits(tmp_path / name / "train", kinds, seed=0)
        write_digits(tmp_path / name / "test", {"a4": 5, "b5": 5}, seed=seed)
        for old in ("a4", "b5"):
            (tmp_path / name / "test" / old).rename(
                tmp_path / name / "test" / f"{old[0]}{'12'[old == 'b5']}"
            )
    first, second = (
        ilk.fit(ilk.read(tmp_path / name), PLAN).save(tmp_path / f"{name}-kinds")
        for name in ("first", "second")
    )
    weights = [(folder / "model.safetensors").read_bytes() for folder in (first, second)]
    assert weights[0] == weights[1]


def test_a_stream_without_end_is_answered_a_block_at_a_time(
    fitted: ilk.Classifier, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ilk.classifier.BLOCK", 4)
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


def test_a_single_path_stands_for_itself(fitted: ilk.Classifier, home: Path) -> None:
    file = next(home.rglob("*.png"))
    assert fitted.predict(str(file)) == fitted.predict([str(file)]) == fitted.predict(file)


def test_features_of_another_encoder_are_a_sentence(fitted: ilk.Classifier) -> None:
    with pytest.raises(ilk.IlkError, match="come from another encoder"):
        fitted.judge(np.zeros((2, 7), np.float32))
