"""The store: rows are whole, addressed by content, and outlive whatever happens to a process."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from ilk.core.errors import OutputError
from ilk.core.space import FeatureSpace
from ilk.store import Store

SPACE = FeatureSpace("key a", "pixels/2x2x1", 4)
OTHER = FeatureSpace("key b", "hog/32", 3)


def _digest(i: int) -> str:
    return hashlib.sha256(str(i).encode()).hexdigest()


def _rows(n: int, dim: int = 4, seed: int = 0) -> tuple[list[str], np.ndarray]:
    values = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return [_digest(i) for i in range(n)], values


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store.sqlite")
    yield made
    made.close()


def test_what_is_put_is_got_in_the_order_asked_for(store):
    digests, values = _rows(1203)
    store.put(SPACE, digests, values)
    order = np.random.default_rng(1).integers(0, 1203, 2000)
    got = store.get(SPACE, [digests[i] for i in order])
    np.testing.assert_array_equal(got, values[order])
    assert got.dtype == np.float32
    assert store.get(SPACE, []).shape == (0, 4)


def test_missing_are_those_not_held_once_each_in_order(store):
    digests, values = _rows(1203)
    assert store.find_missing(SPACE, [*digests, *digests]) == digests
    store.put(SPACE, digests[::2], values[::2])
    assert store.find_missing(SPACE, digests) == digests[1::2]
    assert store.find_missing(OTHER, digests) == digests
    with pytest.raises(KeyError, match="601 rows of pixels/2x2x1"):
        store.get(SPACE, digests)
    with pytest.raises(KeyError):
        store.get(OTHER, digests[:1])


def test_a_row_that_is_there_stays_as_it_is(store):
    digests, values = _rows(3)
    store.put(SPACE, digests, values)
    store.put(SPACE, digests, values + 1)
    np.testing.assert_array_equal(store.get(SPACE, digests), values)


@pytest.mark.parametrize("wrong", [np.zeros((2, 4)), np.zeros((3, 5))])
def test_rows_of_another_shape_are_refused(store, wrong):
    with pytest.raises(ValueError, match=r"expected \(3, 4\)"):
        store.put(SPACE, _rows(3)[0], wrong)


def test_a_row_that_is_not_finite_is_never_stored(store):
    digests, values = _rows(3)
    values[1, 2] = np.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        store.put(SPACE, digests, values)
    assert store.find_missing(SPACE, digests) == digests


def test_one_address_has_one_width(store):
    store.put(SPACE, *_rows(3))
    with pytest.raises(ValueError, match="holds 4 columns, not 5"):
        store.find_missing(FeatureSpace(SPACE.key, SPACE.name, 5), [])


def test_another_process_sees_what_was_put(store, tmp_path):
    store.put(SPACE, *_rows(5))
    store.put_decode_results({_digest(7): ("truncated", "half of it"), _digest(8): ("", "")})
    again = Store(tmp_path / "store.sqlite")
    np.testing.assert_array_equal(again.get(SPACE, _rows(5)[0]), _rows(5)[1])
    assert again.get_decode_results([_digest(7), _digest(8), _digest(9)]) == {
        _digest(7): ("truncated", "half of it"),
        _digest(8): ("", ""),
    }
    again.close()


def test_clearing_one_encoder_leaves_the_others(store):
    store.put(SPACE, *_rows(5))
    store.put(OTHER, *_rows(7, 3))
    store.put_decode_results({_digest(7): ("", "")})
    assert store.list_spaces() == [(OTHER, 7), (SPACE, 5)]
    assert store.clear(SPACE.name) == 5
    assert store.list_spaces() == [(OTHER, 7)]
    assert store.get_decode_results([_digest(7)])
    assert store.clear() == 7
    assert store.list_spaces() == []
    assert not store.get_decode_results([_digest(7)])
    store.put(SPACE, *_rows(5))
    assert store.find_missing(SPACE, _rows(5)[0]) == []


def test_clearing_gives_the_space_back(store):
    store.put(SPACE, *_rows(20_000))
    full = store.size_on_disk()
    store.clear()
    store.close()
    assert store.size_on_disk() < full / 10


def test_a_full_disk_is_said_and_costs_no_row(store):
    digests, values = _rows(20_000)
    store.put(SPACE, digests[:100], values[:100])
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages + 20}")
    with pytest.raises(OutputError, match=r"is full; free some space.*already stored are not lost"):
        store.put(SPACE, digests, values)
    assert store.find_missing(SPACE, digests) == digests[100:]
    np.testing.assert_array_equal(store.get(SPACE, digests[:100]), values[:100])
    store._db.execute("PRAGMA max_page_count = 1000000")
    store.put(SPACE, digests, values)
    np.testing.assert_array_equal(store.get(SPACE, digests), values)


def test_files_that_cannot_be_a_store_are_refused(tmp_path):
    (tmp_path / "text").write_text("no database at all, but long enough to be looked at")
    with pytest.raises(OutputError, match=r"not a database; move that file away"):
        Store(tmp_path / "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="unable to open"):
        Store(tmp_path / "folder")
    with pytest.raises(OutputError, match="set ILK_STORE to a"):
        Store(tmp_path / "text" / "store.sqlite")
    newer = sqlite3.connect(tmp_path / "newer")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(OutputError, match="created by a newer ilk"):
        Store(tmp_path / "newer")


def test_the_environment_names_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "deep" / "down" / "my.store"))
    store = Store()
    store.put(SPACE, *_rows(2))
    assert (tmp_path / "deep" / "down" / "my.store").exists()
    store.close()


WRITER = """
import sys, hashlib, numpy as np
from ilk.core.space import FeatureSpace
from ilk.store import Store
path, start = sys.argv[1], int(sys.argv[2])
sys.stdin.readline()
store = Store(path)
space = FeatureSpace("key a", "pixels/2x2x1", 4)
for i in range(start, start + 60):
    block = range(i * 5, i * 5 + 10)  # each overlaps its neighbour's rows
    digests = [hashlib.sha256(str(j).encode()).hexdigest() for j in block]
    store.put(space, digests, np.array([[j, 0, 1, 2] for j in block], np.float32))
"""


def test_processes_write_to_a_new_store_at_once(tmp_path):
    path = str(tmp_path / "store.sqlite")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, path, str(start)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        for start in (0, 30, 60, 0)
    ]
    for writer in writers:  # all imported: let them loose together
        assert writer.stdin
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        _, said = writer.communicate(timeout=100)
        assert writer.returncode == 0, said
    store = Store(path)
    n = 119 * 5 + 10
    got = store.get(SPACE, [_digest(i) for i in range(n)])
    np.testing.assert_array_equal(got[:, 0], np.arange(n))
    assert store.list_spaces() == [(SPACE, n)]
    store.close()
