"""Folders of ilk where images are expected, and folders of the user's where ilk would write."""

from __future__ import annotations

import json
import math

import click
import numpy as np
import pyarrow
import pytest
from click.testing import CliRunner
from pyarrow import parquet

from helpers.command_line import list_options
from helpers.noise_images import noise
from ilk.cli import run
from ilk.cli.finite_range import FiniteRange
from ilk.core.errors import InputError
from ilk.images.sources.ilk_folders import is_shard_folder
from ilk.metric_learning.from_images import choose_held_out
from ilk.retrieval.query import Query

ENCODER = ("--encoder", "pixels/4x4x3")


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "store.sqlite"))
    return _draw(tmp_path / "photos", 0)


def _draw(home, seed):
    for i in range(8):
        path = home / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(8, 8, seed + i).save(path)
    return home


def _fail(capsys, *args):
    capsys.readouterr()
    code = run([*map(str, args)])
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ("check",),
        ("audit", *ENCODER),
        ("rank", *ENCODER),
        ("duplicates", *ENCODER),
        ("learn-metric", "--out", "new", *ENCODER),
        ("detect", "fit", "--out", "new"),
    ],
    ids=lambda c: c[0],
)
def test_a_shard_folder_is_named_where_images_are_expected(
    command, photos, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert run(["encode", "photos", "--out", "shards", *ENCODER]) == 0
    n = 2 if command[0] == "detect" else 1  # a group of commands
    code, text = _fail(capsys, *command[:n], "shards", *command[n:])
    assert (code, "shards is a shard folder" in text, "ilk fit shards" in text) == (2, True, True)


def test_indexes_embeddings_and_models_are_named_where_images_are_expected(
    photos, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert run(["search", "photos", "photos/a/0.png", *ENCODER, "--index", "idx"]) == 0
    code, text = _fail(capsys, "check", "idx")
    assert (code, "idx is an index of ilk search" in text) == (2, True)
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "tuned.json").write_text('{"format": "ilk tuned encoder 1"}')
    code, text = _fail(capsys, "check", "tuned")
    assert (code, "--encoder tuned:tuned" in text) == (2, True)
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds" / "model.json").write_text('{"format": "ilk classifier"}')
    code, text = _fail(capsys, "check", "kinds")
    assert (code, "kinds is a model folder" in text) == (2, True)
    for command in ("predict", "evaluate"):
        code, text = _fail(capsys, command, "idx", "photos/a/0.png")
        assert (code, "idx is an index of ilk search" in text) == (4, True), (command, text)


def test_a_table_or_page_of_that_name_makes_no_folder_of_ilk(photos, capsys, monkeypatch, tmp_path):
    """Folders of images often hold an `index.json` or a `manifest.parquet` of another program."""
    (photos / "index.json").write_text('{"pages": 3}')
    (photos / "tuned.json").write_text("[1]")
    (photos / "model.json").write_text('{"format": "layers-model"}')
    parquet.write_table(pyarrow.table({"a": [1]}), photos / "manifest.parquet")
    assert not is_shard_folder(photos)
    assert run(["check", str(photos)]) in (0, 1)
    assert run(["search", str(photos), str(photos / "a/0.png"), *ENCODER]) == 0
    (photos / "manifest.parquet").write_bytes(b"cut off")
    assert is_shard_folder(photos)


def test_encode_writes_only_to_new_folders_and_to_shard_folders(photos, tmp_path, capsys):
    other = _draw(tmp_path / "other", 100)
    code, text = _fail(capsys, "encode", photos, "--out", other, *ENCODER)
    assert (code, "other holds a, and is not a shard folder" in text) == (5, True)
    assert sorted(path.name for path in other.iterdir()) == ["a", "b"]
    (tmp_path / "empty").mkdir()
    assert run(["encode", str(photos), "--out", str(tmp_path / "empty"), *ENCODER]) == 0
    (tmp_path / "empty" / "manifest.parquet").unlink()  # made again, the parts are used
    assert run(["encode", str(photos), "--out", str(tmp_path / "empty"), *ENCODER]) == 0
    mine = tmp_path / "mine" / "features" / "x"
    mine.mkdir(parents=True)
    (mine / "part-00000.parquet").write_text("mine")
    assert _fail(capsys, "encode", photos, "--out", tmp_path / "mine", *ENCODER)[0] == 5


def test_the_index_of_another_folder_is_not_replaced(photos, tmp_path, capsys):
    other, index = _draw(tmp_path / "other", 100), tmp_path / "idx"
    query = photos / "a/0.png"
    assert run(["search", str(photos), str(query), *ENCODER, "--index", str(index)]) == 0
    before = {path.name: path.read_bytes() for path in index.iterdir() if path.is_file()}
    code, text = _fail(capsys, "search", other, query, *ENCODER, "--index", index)
    assert (code, "none of its 8 images is among these" in text) == (5, True)
    after = {path.name: path.read_bytes() for path in index.iterdir() if path.is_file()}
    assert after == before
    photos.rename(tmp_path / "moved")  # the same images elsewhere
    query = tmp_path / "moved/a/0.png"
    assert run(["search", str(tmp_path / "moved"), str(query), "--index", str(index)]) == 0


def test_an_index_is_not_written_over_a_foreign_index_json(photos, tmp_path, capsys):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "index.json").write_text('{"pages": 3}')
    code, _ = _fail(capsys, "search", photos, photos / "a/0.png", *ENCODER, "--index", folder)
    assert code == 5
    assert json.loads((folder / "index.json").read_text()) == {"pages": 3}


@pytest.mark.parametrize("name", ["weights.safetensors", "tuned.json"])
def test_an_embedding_is_not_written_over_files_of_the_user(name, photos, tmp_path, capsys):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / name).write_text("{}")
    code, text = _fail(capsys, "learn-metric", photos, "--out", folder, *ENCODER)
    assert (code, "not a learned embedding" in text) == (5, True)
    assert (folder / name).read_text() == "{}"


def test_no_option_takes_a_number_that_is_not_finite():
    """`nan` lies in every range of click, as no comparison with it is true."""
    ranges = [
        (name, command, option)
        for name, found in list_options().items()
        for command, option in found.items()
        if isinstance(option.type, click.types.FloatRange)
    ]
    assert len(ranges) > 5
    assert [f"{c} {n}" for n, c, o in ranges if not isinstance(o.type, FiniteRange)] == []

    @click.command()
    @click.option("--wait", type=FiniteRange(0))
    def command(wait):
        assert math.isfinite(wait)

    codes = [CliRunner().invoke(command, ["--wait", v]).exit_code for v in ("nan", "inf", "-1")]
    assert codes == [2, 2, 2]
    assert CliRunner().invoke(command, ["--wait", "3"]).exit_code == 0


@pytest.mark.parametrize("weight", [math.nan, math.inf, -1.0])
def test_a_weight_that_is_no_number_is_refused_in_python(weight):
    with pytest.raises(InputError, match="unlike_weight"):
        Query(images=("a.png",), unlike=("b.png",), unlike_weight=weight).check()


@pytest.mark.parametrize("part", [math.nan, 1.0, -0.1])
def test_a_part_to_hold_out_that_is_no_part_is_refused_in_python(part):
    rows = np.zeros(4, np.int64)
    with pytest.raises(InputError, match="hold_out"):
        choose_held_out(rows, np.arange(4), part, 0)


def test_unlike_without_images_is_a_usage_error(photos, capsys):
    query = str(photos / "a/0.png")
    code, text = _fail(capsys, "search", photos, "--like", query, "--unlike", *ENCODER)
    assert (code, "'--unlike' requires an argument" in text) == (2, True)
