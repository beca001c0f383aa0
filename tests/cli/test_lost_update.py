"""Commands that read a model and change it: no change is lost, none is made to another model."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ilk.artifacts.load_classifier import load
from ilk.artifacts.overwrite_guard import check_writable, hold_folder
from ilk.cli import run
from ilk.core.errors import OutputError

FIT = ("--encoder", "pixels/6x6x3", "--resize", "squash", "--views", "1", "--method", "GDA")
COLOURS = {"red": (220, 40, 40), "blue": (40, 40, 220), "green": (40, 220, 40), "grey": (99,) * 3}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("lost")
    for name, colour in COLOURS.items():
        folder = home / ("photos" if name in ("red", "blue") else "new") / name
        folder.mkdir(parents=True)
        for i in range(12):
            rng = np.random.default_rng([i, *colour])
            pixels = np.clip(np.array(colour) + rng.normal(0, 20, (9, 9, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    photos, model = str(home / "photos"), str(home / "model")
    assert run(["fit", photos, *FIT, "--folds", "2", "--out", model]) == 0
    return home


def start_add(home, model, name):
    return subprocess.Popen(
        [sys.executable, "-m", "ilk", "add", model, "--class-images", name, home / "new" / name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_additions_at_once_are_both_kept(home, tmp_path):
    model = shutil.copytree(home / "model", tmp_path / "model")
    both = [start_add(home, model, name) for name in ("green", "grey")]
    for one in both:
        _, said = one.communicate(timeout=120)
        assert one.returncode == 0, said
    assert sorted(load(model).classes) == ["blue", "green", "grey", "red"]


def test_an_addition_to_a_model_that_changed_meanwhile_is_refused(
    home, tmp_path, monkeypatch, capsys
):
    """To another folder, where the model that is read is not locked."""
    model = shutil.copytree(home / "model", tmp_path / "model")
    from ilk.updates import extend

    extend_classifier = extend.extend_classifier

    def change_meanwhile(*args, **options):
        assert run(["add", str(model), "--class-images", "grey", str(home / "new/grey")]) == 0
        return extend_classifier(*args, **options)

    monkeypatch.setattr(extend, "extend_classifier", change_meanwhile)
    args = ["--class-images", "green", str(home / "new/green"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(extend, "extend_classifier", once(change_meanwhile, extend_classifier))
    assert run(["add", str(model), *args]) == 4
    assert "was changed by another command in the meantime" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert sorted(load(model).classes) == ["blue", "grey", "red"]


def once(first, then):
    """A function that is `first` in its first call, and `then` afterwards."""
    calls = []

    def call(*args, **options):
        calls.append(1)
        return (first if len(calls) == 1 else then)(*args, **options)

    return call


def test_a_second_fit_into_the_same_folder_is_refused_at_once(home, tmp_path):
    out = tmp_path / "out"
    with hold_folder(out, check_writable, holder="process 1 on here: ilk fit"):
        fit = ["fit", str(home / "photos"), *FIT, "--folds", "2", "--out", str(out)]
        other = subprocess.run([sys.executable, "-m", "ilk", *fit], capture_output=True, text=True)
    assert other.returncode == 5
    assert "another ilk process (process 1 on here: ilk fit) is writing to" in other.stderr
    assert not out.exists()  # it was made for the lock, and nothing was written


def test_a_failed_command_leaves_no_folder(home, tmp_path):
    out = tmp_path / "deep" / "out"
    assert run(["fit", str(home / "nothing"), *FIT, "--out", str(out)]) == 2
    assert not (tmp_path / "deep").exists()
    (tmp_path / "empty").mkdir()
    assert run(["fit", str(home / "nothing"), *FIT, "--out", str(tmp_path / "empty")]) == 2
    assert os.listdir(tmp_path / "empty") == []


def test_a_folder_of_leftovers_is_empty_and_others_are_not(tmp_path):
    for name in (".ilk.lock", "a.png.ilk-new", ".x.ilk-new.host.1.part", ".ilk.trial"):
        (tmp_path / name).touch()
    (tmp_path / "group-1").mkdir()
    (tmp_path / "group-1" / "b.png.ilk-new").touch()
    assert check_writable(tmp_path) == tmp_path
    (tmp_path / "group-1" / "b.png").touch()
    with pytest.raises(OutputError, match="contains files that are no"):
        check_writable(tmp_path)
