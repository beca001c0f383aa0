"""The card says what is recorded, and "not stated" where nothing is."""

from __future__ import annotations

import json

import pytest

import ilk
from ilk.artifacts import model_folder
from ilk.core.errors import ArtifactError
from ilk.export.card import NOT_STATED, write_card
from ilk.export.hub_transfer import OWN_KEYS


def change(folder, out, **entries):
    weights, metadata = model_folder.read(folder)
    kept = {key: value for key, value in metadata.items() if key not in OWN_KEYS}
    model_folder.write(out, weights, {**kept, **entries})
    return out


def test_it_says_what_the_model_folder_records(home):
    card = write_card(home / "kinds", license_name="apache-2.0")
    description = json.loads((home / "kinds" / "model.json").read_text())
    accuracy = description["metrics"]["evaluation"]["accuracy"]
    assert f"- accuracy: {accuracy['value']:.3f} (95 % interval {accuracy['low']:.3f}" in card
    assert "| kind 0 | 24 |" in card
    assert "- training images: 72" in card
    assert "`GDA()`" in card
    assert "probability 0.9" in card
    assert description["digest"] in card
    assert "- licence: apache-2.0" in card


def test_the_head_is_yaml_that_a_hub_reads(home):
    yaml = pytest.importorskip("yaml")
    card = write_card(home / "kinds", license_name="other: yes")
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["library_name"] == "ilk"
    assert head["license"] == "other: yes"
    assert head["pipeline_tag"] == "image-classification"
    assert "image-classification" in head["tags"]
    assert head["metrics"] == ["accuracy"]
    assert "license" not in yaml.safe_load(write_card(home / "kinds").split("---\n")[1])


def test_nothing_is_invented(home, tmp_path):
    bare = change(home / "kinds", tmp_path / "m", metrics=None, data=None, versions=None, notes=[])
    card = write_card(bare)
    assert f"Accuracy: {NOT_STATED}" in card
    assert f"- training images: {NOT_STATED}" in card
    assert f"| kind 0 | {NOT_STATED} |" in card
    assert f"- licence: {NOT_STATED}" in card
    assert f"- fitted with: {NOT_STATED}" in card
    assert f"Intended use: {NOT_STATED}" in card


def test_names_cannot_break_the_page(home, tmp_path):
    names = ["a|b", "<script>", "`x`\n## y"]
    card = write_card(change(home / "kinds", tmp_path / "m", classes=names))
    assert r"| a\|b |" in card
    assert r"\<script\>" in card
    assert "\n## y" not in card


def test_an_altered_model_has_no_card(home, tmp_path):
    path = change(home / "kinds", tmp_path / "m") / "model.json"
    path.write_text(path.read_text().replace("kind 1", "kind 9"))
    with pytest.raises(ArtifactError, match="altered"):
        write_card(tmp_path / "m")
    with pytest.raises(ArtifactError):
        write_card(tmp_path)


def test_a_detector_has_a_card_too(home, tmp_path):
    from ilk.cli import run

    folder = tmp_path / "normal"
    args = ["detect", "fit", str(home / "photos" / "kind 0"), "--out", str(folder)]
    assert run([*args, "--encoder", "pixels/6x6x3"]) == 0
    card = write_card(folder)
    assert "`ilk detector` for flagging images" in card
    assert "ilk detect score" in card
    assert ilk.load(home / "kinds").classes[0] not in card
