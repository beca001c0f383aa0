"""A model folder comes back as it was saved, and anything else is refused in a sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from ilk import artefact, packed
from ilk.claimed import claim
from ilk.errors import ArtefactError, OutputError
from ilk.models import Linear

LINEAR = Linear(np.arange(6, dtype=np.float32).reshape(2, 3), np.array([0, -np.inf], np.float32))


def saved(folder: Path) -> Path:
    weights, told = packed.pack({"model": LINEAR})
    artefact.write(folder, weights, {"parts": told, "seed": 3})
    return folder


def edit(folder: Path, **changes: object) -> None:
    path = folder / artefact.ABOUT
    about = json.loads(path.read_text())
    about |= changes
    about["digest"] = artefact.digest(about)
    path.write_text(json.dumps(about))


def test_a_part_comes_back_bit_for_bit(tmp_path: Path) -> None:
    weights, about = artefact.read(saved(tmp_path))
    back = packed.unpack(weights, about["parts"])["model"]
    assert type(back) is Linear
    np.testing.assert_array_equal(back.weight, LINEAR.weight)
    np.testing.assert_array_equal(back.bias, LINEAR.bias)
    assert about["seed"] == 3


def test_one_flipped_bit_in_the_weights_is_found(tmp_path: Path) -> None:
    path = saved(tmp_path) / artefact.WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="not the file"):
        artefact.read(tmp_path)


def test_a_changed_threshold_is_found(tmp_path: Path) -> None:
    path = saved(tmp_path) / artefact.ABOUT
    path.write_text(path.read_text().replace('"seed": 3', '"seed": 4'))
    with pytest.raises(ArtefactError, match="altered"):
        artefact.read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"version": 99}, "newer ilk"),
        ({"format": "a cake"}, "a cake"),
        ({"version": None}, "not a"),
    ],
)
def test_a_foreign_or_newer_description_is_refused(
    tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    edit(saved(tmp_path), **changes)
    with pytest.raises(ArtefactError, match=says):
        artefact.read(tmp_path)


FOREIGN = ["os:system", "ilk.errors:IlkError", "ilk.models:Facts", "builtins:eval"]


@pytest.mark.parametrize("form", FOREIGN)
def test_no_code_outside_the_rooms_of_models_is_ever_made(form: str) -> None:
    weights, told = packed.pack({"model": LINEAR})
    told["model"]["form"] = form
    with pytest.raises(ArtefactError, match="no part of ilk"):
        packed.unpack(weights, told)


def test_a_form_of_a_later_ilk_is_named() -> None:
    weights, told = packed.pack({"model": LINEAR})
    told["model"]["form"] = "ilk.methods.from_the_future:Model"
    with pytest.raises(ArtefactError, match="update ilk"):
        packed.unpack(weights, told)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("ilk.continual:Remembering", "ilk.training.continual:Remembering"),
        ("ilk.widened:Widened", "ilk.living.widened:Widened"),
    ],
)
def test_forms_are_found_where_they_were_when_they_were_saved(before: str, now: str) -> None:
    assert packed._form(before) is packed._form(now)


def test_a_disk_that_is_read_only_is_a_sentence(monkeypatch, tmp_path: Path) -> None:
    def refused(self: Path, *_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "open", refused)
    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(OutputError, match="Read-only file system"):
        artefact.write_file(tmp_path / "a.csv", b"")


def test_missing_fields_are_a_sentence() -> None:
    weights, _ = packed.pack({"other": LINEAR})
    with pytest.raises(ArtefactError, match="does not fit"):
        packed.unpack(weights, {"model": {"form": "ilk.models:Linear"}})


def test_weights_that_are_no_safetensors_are_refused() -> None:
    with pytest.raises(ArtefactError, match="not a safetensors file"):
        packed.unpack(b"\x80\x04pickle", {})


@pytest.mark.parametrize("content", [None, "", "[]", "{}", "not json"])
def test_a_folder_that_is_no_model(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / artefact.ABOUT).write_text(content)
        (tmp_path / artefact.WEIGHTS).write_bytes(b"")
    with pytest.raises(ArtefactError):
        artefact.read(tmp_path)


def test_a_folder_with_other_files_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("all of it")
    with pytest.raises(OutputError, match="no ilk classifier"):
        claim(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.doc"]


def test_a_model_folder_may_be_written_again(tmp_path: Path) -> None:
    assert claim(saved(tmp_path)) == tmp_path


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot write"):
        claim(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        claim(tmp_path / "file" / "kinds")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        artefact.write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_stopped_fit_left_is_written_to_again(tmp_path: Path) -> None:
    for name in ("report.html", "intake.json", ".model.json.12.part", "model.safetensors"):
        (tmp_path / name).write_text("half")
    assert claim(tmp_path) == tmp_path
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="no ilk classifier"):
        claim(tmp_path)


@pytest.mark.parametrize("name", ["report.html", "suspects.csv", "model.json", "notes.txt"])
def test_a_file_of_somebody_elses_is_not_taken_for_what_ilk_left(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match="empty folder with --out"):
        claim(tmp_path)
    assert (tmp_path / name).read_text() == "mine"


def test_a_model_may_replace_only_what_it_was_adapted_to_before(tmp_path: Path) -> None:
    about = {"format": "ilk classifier", "classes": ["a", "b"], "data": {"fingerprint": "1"}}
    others = {
        "source": about,
        "adapted": {**about, "followed": {}},
        "grown": {**about, "classes": ["a", "b", "c"], "followed": {}},
        "another": {**about, "data": {"fingerprint": "2"}, "followed": {}},
        "copy": about,
    }
    for name, told in others.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text(json.dumps(told))
    source = tmp_path / "source"
    for name in ("source", "adapted"):
        assert claim(tmp_path / name, grown_from=source) == tmp_path / name
    for name in ("grown", "another", "copy"):
        with pytest.raises(OutputError, match="holds another ilk classifier than"):
            claim(tmp_path / name, grown_from=source)


def test_a_folder_is_found_through_dots_and_a_name_too_long_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    claim(tmp_path / "new" / ".." / "empty")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    with pytest.raises(OutputError, match="cannot write to"):
        claim(tmp_path / ("x" * 300))
