"""A description that was edited and signed again ends in a sentence, or answers; no traceback."""

import copy
import json
import shutil

import numpy as np
import pytest

import ilk
from ilk.artifacts import model_folder
from ilk.core.digested_json import compute_digest
from ilk.core.errors import ArtifactError, IlkError

WRONG = (None, "text", -1, 0.5, [], {}, True, float("nan"), float("inf"), "x" * 300, [[1]])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 100, (24, 8, 8), np.uint8)
    pixels[12:] += 100
    classifier = ilk.fit(
        list(pixels), labels=["dark"] * 12 + ["bright"] * 12, encoders="pixels", methods="GDA"
    )
    return classifier.save(tmp_path_factory.mktemp("m") / "model")


def list_places(value, path=()):
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from list_places(value[key], (*path, key))
    elif isinstance(value, list) and value:
        yield from list_places(value[0], (*path, 0))


def edit(description, path, value):
    edited = copy.deepcopy(description)
    target = edited
    for key in path[:-1]:
        target = target[key]
    if value == "delete":
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return edited


def test_every_edit_is_a_sentence_or_an_answer(model, tmp_path):
    description = json.loads((model / "model.json").read_text())
    home = shutil.copytree(model, tmp_path / "model")
    image = np.full((8, 8), 50, np.uint8)
    rng, messages, n_edits = np.random.default_rng(0), list[str](), 0
    for path in list_places(description):
        if not path or path[0] in ("metrics", "leaderboard", "versions", "notes"):
            continue
        for value in (*(WRONG[i] for i in rng.choice(len(WRONG), 3, replace=False)), "delete"):
            edited = edit(description, path, value)
            edited["digest"] = compute_digest(edited)
            (home / "model.json").write_text(json.dumps(edited))
            n_edits += 1
            try:
                ilk.load(home)
            except IlkError as error:
                messages.append(str(error))
    assert n_edits > 100
    assert len(messages) > 50
    assert not any("\n" in message for message in messages)
    assert ilk.load(model).predict(image).name == "dark"


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "[]", "null", '{"format": "ilk classifier", "version": Infinity}', "{", ""],
)
def test_other_json_is_no_description(model, tmp_path, text):
    home = shutil.copytree(model, tmp_path / "model")
    (home / "model.json").write_text(text)
    with pytest.raises(ArtifactError, match="is not a description written by ilk"):
        model_folder.read(home)
