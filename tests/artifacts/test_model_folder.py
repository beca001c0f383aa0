"""A model folder is restored as it was saved, and invalid folders are refused."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ilk.artifacts import model_folder, pack
from ilk.artifacts.overwrite_guard import check_writable
from ilk.core.errors import ArtifactError, OutputError
from ilk.core.linear_models import Linear

LINEAR = Linear(np.arange(6, dtype=np.float32).reshape(2, 3), np.array([0, -np.inf], np.float32))


def write_model(folder: Path) -> Path:
    weights, parts = pack.pack({"model": LINEAR})
    encoder = {"name": "pixels:4", "key": "4"}
    metadata = {"parts": parts, "classes": ["a", "b"], "encoder": encoder, "seed": 3}
    model_folder.write(folder, weights, metadata)
    return folder


def edit_description(folder: Path, **changes: object) -> None:
    path = folder / model_folder.DESCRIPTION_FILE
    description = json.loads(path.read_text())
    description |= changes
    description["digest"] = model_folder.compute_digest(description)
    path.write_text(json.dumps(description))


def test_a_part_comes_back_bit_for_bit(tmp_path: Path) -> None:
    weights, description = model_folder.read(write_model(tmp_path))
    back = pack.unpack(weights, description["parts"])["model"]
    assert type(back) is Linear
    np.testing.assert_array_equal(back.weight, LINEAR.weight)
    np.testing.assert_array_equal(back.bias, LINEAR.bias)
    assert description["seed"] == 3


def test_one_flipped_bit_in_the_weights_is_detected(tmp_path: Path) -> None:
    path = write_model(tmp_path) / model_folder.WEIGHTS_FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="not the file"):
        model_folder.read(tmp_path)


def test_an_altered_description_is_detected(tmp_path: Path) -> None:
    path = write_model(tmp_path) / model_folder.DESCRIPTION_FILE
    path.write_text(path.read_text().replace('"seed": 3', '"seed": 4'))
    with pytest.raises(ArtifactError, match="altered"):
        model_folder.read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 99}, "newer ilk"),
        ({"version": 2}, "older ilk .* ilk fit DIR"),
        ({"format": "a cake"}, "a cake"),
        ({"version": None}, "not a"),
    ],
)
def test_a_description_of_another_version_or_type_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    edit_description(write_model(tmp_path), **changes)
    with pytest.raises(ArtifactError, match=message):
        model_folder.read(tmp_path)


@pytest.mark.parametrize(
    "kind", ["os:system", "ilk.core.errors:IlkError", "MethodTags", "gda", "", None, 3]
)
def test_only_classes_with_a_kind_are_instantiated(kind: object) -> None:
    weights, parts = pack.pack({"model": LINEAR})
    parts["model"]["kind"] = kind
    with pytest.raises(ArtifactError, match=r"unknown kind .* update ilk"):
        pack.unpack(weights, parts)


def test_a_class_without_a_kind_of_its_own_cannot_be_saved() -> None:
    @dataclass(frozen=True)
    class Derived(Linear):
        extra: int = 0

    with pytest.raises(TypeError, match="Derived cannot be saved"):
        pack.pack({"model": Derived(LINEAR.weight, LINEAR.bias)})


@pytest.mark.parametrize("parts", [{"kind": "linear"}, {"kind": "linear", "colour": 3}])
def test_fields_that_do_not_fit_are_refused(parts: dict[str, object]) -> None:
    weights, _ = pack.pack({"other": LINEAR})
    with pytest.raises(ArtifactError, match="'model' of this model cannot be restored"):
        pack.unpack(weights, {"model": parts})


def test_weights_that_are_no_safetensors_are_refused() -> None:
    with pytest.raises(ArtifactError, match="not a safetensors file"):
        pack.unpack(b"\x80\x04pickle", {})


@pytest.mark.parametrize("content", [None, "", "[]", "{}", "not json"])
def test_a_folder_that_is_no_model(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / model_folder.DESCRIPTION_FILE).write_text(content)
        (tmp_path / model_folder.WEIGHTS_FILE).write_bytes(b"")
    with pytest.raises(ArtifactError):
        model_folder.read(tmp_path)


def test_a_folder_with_other_files_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("all of it")
    with pytest.raises(OutputError, match="not an ilk classifier"):
        check_writable(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.doc"]


def test_a_model_folder_may_be_written_again(tmp_path: Path) -> None:
    assert check_writable(write_model(tmp_path)) == tmp_path


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot write"):
        check_writable(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        check_writable(tmp_path / "file" / "kinds")


def test_the_remains_of_an_interrupted_fit_can_be_overwritten(tmp_path: Path) -> None:
    for name in ("report.html", "intake.json", ".model.json.12.part", "model.safetensors"):
        (tmp_path / name).write_text("half")
    assert check_writable(tmp_path) == tmp_path
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not an ilk classifier"):
        check_writable(tmp_path)


@pytest.mark.parametrize("name", ["report.html", "suspects.csv", "model.json", "notes.txt"])
def test_files_of_others_are_not_taken_for_the_remains_of_a_fit(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match="empty folder with --out"):
        check_writable(tmp_path)
    assert (tmp_path / name).read_text() == "mine"


def test_a_model_may_replace_only_an_earlier_adaptation(tmp_path: Path) -> None:
    description = {"format": "ilk classifier", "classes": ["a", "b"], "data": {"fingerprint": "1"}}
    others = {
        "source": description,
        "adapted": {**description, "adaptation": {}},
        "extended": {**description, "classes": ["a", "b", "c"], "adaptation": {}},
        "another": {**description, "data": {"fingerprint": "2"}, "adaptation": {}},
        "copy": description,
    }
    for name, description in others.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text(json.dumps(description))
    source = tmp_path / "source"
    for name in ("source", "adapted"):
        assert check_writable(tmp_path / name, source_model=source) == tmp_path / name
    for name in ("extended", "another", "copy"):
        with pytest.raises(OutputError, match="contains another ilk classifier than"):
            check_writable(tmp_path / name, source_model=source)


def test_dots_in_a_path_are_resolved_and_too_long_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    check_writable(tmp_path / "new" / ".." / "empty")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    with pytest.raises(OutputError, match="cannot write to"):
        check_writable(tmp_path / ("x" * 300))
