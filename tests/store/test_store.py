"""The store: rows are whole, addressed by content, and outlive whatever happens to a process."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

from ilk.core.errors import OutputError
from ilk.core.space import FeatureSpace
from ilk.images.inspection.pixel_summary import PixelSummary
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
    with pytest.raises(OutputError, match="601 rows of pixels/2x2x1"):
        store.get(SPACE, digests)
    with pytest.raises(OutputError):
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
    with pytest.raises(OutputError, match="holds 4 features per row of pixels/2x2x1, not 5"):
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


def _edit(store, statement, *values):
    store._db.execute(statement, values)


def _flip(value, i):
    return value[: i // 8] + bytes([value[i // 8] ^ (1 << i % 8)]) + value[i // 8 + 1 :]


@pytest.mark.parametrize("damage", ["flip", "cut", "swap", "other type", "checksum", "moved space"])
def test_a_damaged_row_counts_as_missing_and_can_be_put_again(store, damage):
    digests, values = _rows(6)
    store.put(SPACE, digests, values)
    store.put(FeatureSpace("key c", "other", 4), digests[:1], values[:1])
    stored = dict(store._db.execute("SELECT digest, value FROM features WHERE space = 1"))
    first, second = (bytes.fromhex(d) for d in digests[:2])
    update = "UPDATE features SET value = ? WHERE digest = ? AND space = 1"
    n_damaged = 1
    if damage == "flip":
        _edit(store, update, _flip(stored[first], 77), first)
    elif damage == "cut":
        _edit(store, update, stored[first][:-4], first)
    elif damage == "swap":
        _edit(store, update, stored[second], first)
        _edit(store, update, stored[first], second)
        n_damaged = 2
    elif damage == "other type":
        _edit(store, update, "text", first)
    elif damage == "checksum":
        _edit(store, "UPDATE features SET checksum = checksum + 1 WHERE digest = ?", first)
    else:
        _edit(store, "DELETE FROM features WHERE digest = ? AND space = 1", first)
        _edit(store, "UPDATE features SET space = 1 WHERE digest = ?", first)
    with pytest.raises(OutputError, match="missing or damaged in the store"):
        store.get(SPACE, digests)
    assert store.find_missing(SPACE, digests) == digests[:n_damaged]
    store.put(SPACE, digests, values)
    np.testing.assert_array_equal(store.get(SPACE, digests), values)


def test_every_flipped_bit_of_a_row_is_noticed(store):
    digests, values = _rows(1)
    store.put(SPACE, digests, values)
    ((value,),) = store._db.execute("SELECT value FROM features").fetchall()
    for i in range(8 * len(value)):
        _edit(store, "UPDATE features SET value = ?", _flip(value, i))
        with pytest.raises(OutputError, match="damaged"):
            store.get(SPACE, digests)
    _edit(store, "UPDATE features SET value = ?", value)
    np.testing.assert_array_equal(store.get(SPACE, digests), values)


def test_a_damaged_decode_result_is_forgotten(store):
    store.put_decode_results({_digest(1): ("truncated", "half"), _digest(2): ("", "")})
    _edit(store, "UPDATE verdicts SET reason = CAST(x'ff66' AS TEXT) WHERE reason = 'truncated'")
    assert store.get_decode_results([_digest(1), _digest(2)]) == {_digest(2): ("", "")}


def test_a_damaged_summary_of_pixels_is_forgotten_and_made_again(store):
    one, two = (PixelSummary(_digest(i + 10), bytes([i]) * 768) for i in (1, 2))
    summaries = {_digest(1): one, _digest(2): two}
    store.put_pixel_summaries(summaries)
    assert store.get_pixel_summaries(summaries) == summaries
    damages = [("thumbnail", _flip(one.thumbnail, 9)), ("thumbnail", "text")]
    damages += [("pixel_digest", bytes.fromhex(two.digest)), ("checksum", 7)]
    for column, value in damages:
        _edit(
            store,
            f"UPDATE pixels SET {column} = ? WHERE digest = ?",
            value,
            bytes.fromhex(_digest(1)),
        )
        assert store.get_pixel_digests(summaries) == {_digest(2): two.digest}
        store.put_pixel_summaries({_digest(1): one})
        assert store.get_pixel_summaries(summaries) == summaries
    store.clear()
    assert store.get_pixel_digests(summaries) == {}


@pytest.mark.parametrize("version", [1, 2])
def test_a_store_of_an_older_version_gets_a_table_for_pixels(tmp_path, version):
    store = Store(tmp_path / "store.sqlite")
    digests, values = _rows(3)
    store.put(SPACE, digests, values)
    store._db.execute("DROP TABLE pixels")
    if version == 1:
        for table in ("features", "verdicts"):
            store._db.execute(f"ALTER TABLE {table} DROP COLUMN checksum")
    store._db.execute(f"PRAGMA user_version = {version}")
    store.close()
    for _ in range(2):
        store = Store(tmp_path / "store.sqlite")
        np.testing.assert_array_equal(store.get(SPACE, digests), values)
        store.put_pixel_summaries({digests[0]: PixelSummary(digests[1], b"x")})
        assert store.get_pixel_digests(digests) == {digests[0]: digests[1]}
        store.close()


def test_a_store_without_checksums_gets_them(tmp_path):
    path = tmp_path / "old.sqlite"
    digests, values = _rows(3)
    old = sqlite3.connect(path)
    old.executescript("""
        CREATE TABLE spaces (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
            dim INTEGER NOT NULL);
        CREATE TABLE features (space INTEGER NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
            digest BLOB NOT NULL, value BLOB NOT NULL, UNIQUE (space, digest));
        CREATE TABLE verdicts (digest BLOB PRIMARY KEY, reason TEXT NOT NULL,
            detail TEXT NOT NULL) WITHOUT ROWID;
        PRAGMA user_version = 1;""")
    old.execute("INSERT INTO spaces VALUES (1, ?, ?, 4)", (SPACE.key, SPACE.name))
    for digest, row in zip(digests, values, strict=True):
        old.execute("INSERT INTO features VALUES (1, ?, ?)", (bytes.fromhex(digest), row.tobytes()))
    old.execute(
        "INSERT INTO verdicts VALUES (?, 'truncated', 'half')", (bytes.fromhex(digests[0]),)
    )
    old.commit()
    old.close()
    for _ in range(2):  # upgraded once
        store = Store(path)
        np.testing.assert_array_equal(store.get(SPACE, digests), values)
        assert store.get_decode_results(digests) == {digests[0]: ("truncated", "half")}
        store.close()


def test_a_store_in_use_is_said_to_be_in_use(tmp_path, monkeypatch):
    monkeypatch.setattr("ilk.store.database.BUSY_SECONDS", 0.1)
    store = Store(tmp_path / "store.sqlite")
    store.put(SPACE, *_rows(1))
    other = sqlite3.connect(tmp_path / "store.sqlite")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OutputError, match=r"another process has been using it.*wait for it to end"):
        store.put(SPACE, *_rows(2))
    other.close()
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


def test_no_write_ahead_log_lies_on_a_network_disk(tmp_path, monkeypatch):
    import sqlite3

    from ilk.core import network_disk
    from ilk.store import database

    def get_mode(path):
        with closing(sqlite3.connect(path)) as db:
            return db.execute("PRAGMA journal_mode").fetchone()[0]

    local = Store(tmp_path / "local.sqlite")
    assert (get_mode(local.path), local.note) == ("wal", "")
    local.close()
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(
        database, "find_network_type", lambda path: network_disk.find_network_type(path, mounts)
    )
    store = Store(tmp_path / "local.sqlite")  # also one that was made elsewhere
    assert get_mode(store.path) == "delete"
    assert "network disk (nfs4)" in store.note
    assert "ilk encode DIR --out SHARDS" in store.note
    store.close()
