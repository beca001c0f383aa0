"""The folder of an index: what is damaged, foreign or of another encoder is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ilk.core.digested_json import encode_digested
from ilk.core.errors import ArtifactError, InputError, OutputError, Unavailable
from ilk.core.space import FeatureSpace
from ilk.retrieval import Entry, Index, build_index, from_array, open_index
from ilk.retrieval.spaces import check_space, describe_update

SPACE = FeatureSpace("key", "made", 8)


def build(n: int = 30, kind: str = "Exact", seed: int = 0) -> Index:
    x = np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)
    entries = [Entry(f"{i + 1000 * seed:064x}", f"{i}.png") for i in range(n)]
    return build_index(from_array(x, entries, SPACE), kind)


@pytest.mark.parametrize("kind", ["Exact", "HashCodes(bits=16)", "HNSW"])
def test_every_file_that_is_cut_off_missing_or_altered_is_named(kind: str, tmp_path: Path) -> None:
    if kind == "HNSW":
        pytest.importorskip("usearch")
    whole = build(kind=kind).save(tmp_path / "whole")
    files = [p.name for p in whole.iterdir() if not p.name.startswith(".")]
    assert len(files) >= 3
    for name in files:
        content = (whole / name).read_bytes()
        flipped = content[:-20] + bytes([content[-20] ^ 1]) + content[-19:]
        for damage in (content[: len(content) // 2], flipped, None):
            broken = tmp_path / "broken"
            shutil.copytree(whole, broken, dirs_exist_ok=True)
            if damage is None:
                (broken / name).unlink()
            else:
                (broken / name).write_bytes(damage)
            with pytest.raises(ArtifactError) as caught:
                open_index(broken)
            assert str(broken) in str(caught.value)
            assert "\n" not in str(caught.value)
            shutil.rmtree(broken)


def test_an_index_of_another_version_or_format_is_refused(tmp_path: Path) -> None:
    folder = build().save(tmp_path / "i")
    fields = json.loads((folder / "index.json").read_text())
    for change, message in (
        ({"version": 99}, "version 99"),
        ({"format": "else"}, "does not describe an index of ilk"),
        ({"n": 7}, "30 rows for 30"),
        ({"kind": "Magic"}, "Magic"),
        ({"next_id": "many"}, "next_id"),
        ({"images": "../index.json"}, r"damaged|cannot"),
    ):
        (folder / "index.json").write_bytes(encode_digested({**fields, **change}))
        with pytest.raises((ArtifactError, InputError), match=message):
            open_index(folder)
    with pytest.raises(ArtifactError, match="holds no index"):
        open_index(tmp_path)


def test_a_second_save_keeps_the_rows_that_are_there(tmp_path: Path) -> None:
    folder = build().save(tmp_path / "i")
    index = open_index(folder)
    rows = next(folder.glob("rows-*29.npy"))
    before = rows.stat().st_mtime_ns
    index.delete([3])
    index.add([Entry("f" * 64, "new.png")], np.ones((1, 8), np.float32))
    index.save(folder)
    assert rows.stat().st_mtime_ns == before
    assert len(list(folder.glob("entries-*"))) == 1
    assert len(open_index(folder)) == 30
    other = build(30, seed=1)  # another index takes its place, with files of the same names
    other.save(folder)
    queries = np.eye(8, dtype=np.float32)
    expected = other.search(queries, 3)[0]
    np.testing.assert_array_equal(open_index(folder).search(queries, 3)[0], expected)


def test_a_copy_elsewhere_is_whole(tmp_path: Path) -> None:
    index = open_index(build().save(tmp_path / "i"))
    index.save(tmp_path / "j")
    shutil.rmtree(tmp_path / "i")
    assert len(open_index(tmp_path / "j")) == 30


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"notes\.txt"):
        build().save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_without_usearch_the_command_that_installs_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ilk.hub.client as client

    monkeypatch.setattr(client, "find_spec", lambda _name: None)
    with pytest.raises(Unavailable, match=r"pip install 'ilk\[search\]'"):
        build(kind="HNSW")


class Encoder:
    """An encoder that says with which older spaces it is compatible."""

    name = "new"

    def __init__(self, key: str, dim: int = 8, compatible: tuple[str, ...] = ()) -> None:
        self.space = FeatureSpace(key, "new", dim)
        self._compatible = compatible

    def describe(self) -> dict[str, object]:
        return {"name": "new", "compatible_with": list(self._compatible)}


def test_another_encoder_is_refused_unless_it_is_a_compatible_update() -> None:
    assert not check_space(SPACE, Encoder("key"), "the index")
    assert check_space(SPACE, Encoder("k2", compatible=("key",)), "the index")
    assert describe_update(SPACE, Encoder("key"), "the index") == []
    (told,) = describe_update(SPACE, Encoder("k2", compatible=("key",)), "the index")
    assert "encoded by new, a compatible update" in told
    for encoder in (Encoder("k2"), Encoder("k2", dim=9, compatible=("key",))):
        with pytest.raises(InputError, match=r"made .* new"):
            check_space(SPACE, encoder, "the index")


def test_wrong_queries_are_told_in_a_sentence() -> None:
    index = build()
    with pytest.raises(InputError, match=r"\[m, 8\]"):
        index.search(np.zeros((1, 9), np.float32))
    with pytest.raises(InputError, match="not finite"):
        index.search(np.full((1, 8), np.nan, np.float32))
    with pytest.raises(InputError, match="at least 1"):
        index.search(np.ones((1, 8), np.float32), 0)
    with pytest.raises(ValueError, match="is in the index already"):
        index.add([Entry(f"{0:064x}", "again.png")], np.ones((1, 8), np.float32))
    with pytest.raises(InputError, match="no image"):
        build(0)
