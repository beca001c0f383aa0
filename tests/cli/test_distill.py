"""`ilk distill` as a user types it: what it prints, and one sentence for each bad input."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ilk
from helpers.digit_folders import write_digits
from ilk.cli import evaluate as evaluate_command
from ilk.cli import predict as predict_command
from ilk.cli.distill import command
from ilk.core.errors import (
    ArtifactError,
    InputError,
    NoImages,
    NoLabels,
    OutputError,
    UnknownName,
)
from ilk.store import Store

CLASSES = ("0", "1", "7")
QUICK = ("--student", "cnn-15k", "--updates", "12", "--augment", "none", "--device", "cpu")


def run(*args):
    command.main([str(a) for a in args], standalone_mode=False, obj=())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`digits`, and the model folder `kinds`: nearest neighbours, which keep 24,000 values."""
    folder = tmp_path_factory.mktemp("distill")
    images = write_digits(folder / "digits", dict.fromkeys(CLASSES, 130))
    store = Store(folder / "store.sqlite")
    methods = ("KNearest",)
    fitted = ilk.fit(str(images), store=store, encoders=("pixels/8x8x1",), methods=methods)
    fitted.save(folder / "kinds")
    return folder


@pytest.fixture(autouse=True)
def _store(tmp_path, monkeypatch):
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "store.sqlite"))


def test_the_table_is_printed_and_the_student_predicts(folder, tmp_path, capsys):
    small = tmp_path / "small"
    run(folder / "kinds", folder / "digits", "--out", small, *QUICK)
    output = capsys.readouterr().out
    for words in ("teacher", "student", "log loss", "multiply-adds", f"ilk predict {small}"):
        assert words in output
    assert not list(small.glob(".distil*"))
    moved = shutil.move(small, tmp_path / "moved")
    arguments = [str(moved), str(folder / "digits")]
    predict_command.command.main(arguments, standalone_mode=False, obj=())
    rows = capsys.readouterr().out.strip().splitlines()
    assert len(rows) == 1 + 390
    evaluate_command.command.main(arguments, standalone_mode=False, obj=())
    assert "accuracy" in capsys.readouterr().out


def test_json_has_the_comparison(folder, tmp_path, capsys):
    run(folder / "kinds", folder / "digits", "--out", tmp_path / "s", *QUICK, "--json")
    report = json.loads(capsys.readouterr().out)
    teacher, student = report["comparison"]
    assert teacher["parameters"] > student["parameters"]
    assert student["multiply_adds"] > 0
    assert report["images"]["calibration"] >= 20


def test_a_student_larger_than_the_teacher_is_refused_and_forced(folder, tmp_path):
    arguments = (folder / "kinds", folder / "digits", "--out", tmp_path / "s")
    larger = ("--student", "cnn-100k", "--updates", "2", "--augment", "none", "--device", "cpu")
    with pytest.raises(InputError, match=r"has 8\d,\d{3} parameters and the teacher 2\d,\d{3}"):
        run(*arguments, *larger)
    assert not (tmp_path / "s").exists()
    run(*arguments, *larger, "--force")
    assert (tmp_path / "s" / "model.json").exists()


def test_a_folder_with_other_classes_is_refused(folder, tmp_path):
    images = write_digits(tmp_path / "d", {"a 3": 50, "b 4": 50})
    with pytest.raises(InputError, match="no image has a label that is a class of the teacher"):
        run(folder / "kinds", images, "--out", tmp_path / "s", *QUICK)


def test_classes_that_the_teacher_does_not_know_are_left_out(folder, tmp_path, capsys):
    shutil.copytree(folder / "digits", tmp_path / "d")
    write_digits(tmp_path / "d", {"owl 5": 9})
    run(folder / "kinds", tmp_path / "d", "--out", tmp_path / "s", *QUICK)
    assert "9 images have labels that are not classes of the teacher (owl 5)" in " ".join(
        capsys.readouterr().out.split()
    )
    assert ilk.load(tmp_path / "s").classes == CLASSES


@pytest.mark.parametrize(("student", "least"), [("cnn-15k", 8), ("efficientnet-lite0", 32)])
def test_images_smaller_than_the_network_takes(folder, tmp_path, student, least):
    small = ("--student", student, "--image-size", "7", "--force")
    with pytest.raises(InputError, match=f"7 x 7 pixels are smaller .* {least} x {least}"):
        run(folder / "kinds", folder / "digits", "--out", tmp_path / "s", *small)
    rng = np.random.default_rng(0)
    for c in CLASSES:
        (tmp_path / "tiny" / c).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 255, (5, 9), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "tiny" / c / f"{i}.png")
    with pytest.raises(InputError, match="5 x 5 pixels are smaller than a student takes"):
        run(folder / "kinds", tmp_path / "tiny", "--out", tmp_path / "s", *QUICK)


def test_too_few_images_for_the_held_out_parts(folder, tmp_path):
    images = write_digits(tmp_path / "d", dict.fromkeys(CLASSES, 20))
    with pytest.raises(InputError, match=r"60 labelled images .* 20.*; label more, at least 80"):
        run(folder / "kinds", images, "--out", tmp_path / "s", *QUICK)
    images = write_digits(tmp_path / "more", dict.fromkeys(CLASSES, 30))
    with pytest.raises(InputError, match=r"90 labelled images .* raise --hold-out"):
        run(folder / "kinds", images, "--out", tmp_path / "s", *QUICK)


def test_no_images_and_no_labels(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoImages):
        run(folder / "kinds", tmp_path / "empty", "--out", tmp_path / "s", *QUICK)
    shutil.copytree(folder / "digits" / "1", tmp_path / "plain")
    with pytest.raises(NoLabels, match="calibrated on labelled images"):
        run(folder / "kinds", tmp_path / "plain", "--out", tmp_path / "s", *QUICK)


def test_what_is_no_classifier_cannot_teach(folder, tmp_path):
    with pytest.raises(ArtifactError, match="ilk fit DIR"):
        run(folder / "digits", folder / "digits", "--out", tmp_path / "s", *QUICK)
    for what in ("ilk detector", "ilk multi-label classifier"):
        other = tmp_path / what.split()[1]
        other.mkdir()
        (other / "model.json").write_text(json.dumps({"format": what, "version": 3}))
        with pytest.raises(InputError, match=f"holds an {what}, and a student learns from"):
            run(other, folder / "digits", "--out", tmp_path / "s", *QUICK)


def test_the_student_does_not_replace_its_teacher_or_lie_in_the_images(folder, tmp_path):
    with pytest.raises(InputError, match="would replace its teacher"):
        run(folder / "kinds", folder / "digits", "--out", folder / "kinds", *QUICK)
    with pytest.raises(OutputError):
        run(folder / "kinds", folder / "digits", "--out", folder / "digits" / "s", *QUICK)


@pytest.mark.parametrize(
    ("option", "error", "words"),
    [
        (("--student", "cnn-16k"), UnknownName, "cnn-15k"),
        (("--loss", "KDD"), UnknownName, "KD"),
        (("--loss", "KD(temperature=0)"), InputError, "temperature"),
        (("--loss", "KD(heat=1)"), InputError, "heat"),
        (("--loss", "KD(temperature='x')"), InputError, "temperature"),
        (("--loss", "KD(teacher_logits=1)"), InputError, "cannot be set"),
        (("--image-size", "5000"), InputError, "at most 1024"),
    ],
)
def test_wrong_settings(folder, tmp_path, option, error, words):
    with pytest.raises(error, match=words):
        run(folder / "kinds", folder / "digits", "--out", tmp_path / "s", *QUICK, *option)


def test_a_full_disk_in_the_middle_loses_nothing(folder, tmp_path, monkeypatch):
    from ilk.training import checkpoint

    small = tmp_path / "s"
    arguments = (folder / "kinds", folder / "digits", "--out", small, *QUICK)
    run(*arguments)
    before = {p.name: p.read_bytes() for p in small.rglob("*") if p.is_file()}
    replace_atomically = checkpoint.replace_atomically
    saved = []

    def fill(path: Path, write, **options):
        saved.append(path)
        if len(saved) == 4:

            def write(part):
                raise OSError(errno.ENOSPC, "No space left on device")

        return replace_atomically(path, write, **options)

    monkeypatch.setattr(checkpoint, "replace_atomically", fill)
    with pytest.raises(OutputError, match="No space left"):
        run(*arguments, "--seed", "1")
    kept = {p.name: p.read_bytes() for p in small.rglob("*") if p.is_file()}
    assert {k: v for k, v in kept.items() if k in before} == before
    assert any(name.startswith(".ilk.distill-") for name in kept)
    monkeypatch.undo()
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "store.sqlite"))
    run(*arguments, "--seed", "1")
    assert not list(small.glob(".distil*"))
