"""The store: every image is encoded once per encoder, for good.

One SQLite file in the user's cache folder (`ILK_STORE` names another). SQLite brings what the
store promises: a row is there whole or not at all whenever a process is killed, two processes may
write at once, and nothing but the rows asked for is ever in memory.

A row's address is a *space* (digest of encoder, weights, preprocessing and precision) and the
digest of the image file's bytes.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from ilk.data import Features
from ilk.errors import OutputError

VERSION = 1
CHUNK = 500  # rows a query; SQLite allows 999 parameters in its oldest builds
BUSY_SECONDS = 120.0

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS spaces (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL, dim INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS features (
    space INTEGER NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    digest BLOB NOT NULL, value BLOB NOT NULL, UNIQUE (space, digest));
CREATE TABLE IF NOT EXISTS verdicts (
    digest BLOB PRIMARY KEY, reason TEXT NOT NULL, detail TEXT NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
"""


@dataclass(frozen=True)
class Space:
    """One encoder's rows: its address, its name for people, and the width of a row."""

    key: str
    name: str
    dim: int


def default_path() -> Path:
    """Where the store lies: `$ILK_STORE`, else the user's cache folder."""
    told = os.environ.get("ILK_STORE")
    return Path(told) if told else user_cache_path("ilk", appauthor=False) / "store.sqlite"


class Store:
    """Features by content. Safe for several threads and several processes at once.

    Raises:
        OutputError: The file cannot be made or written, is full, or is no store.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = Path(path) if path is not None else default_path()
        self._lock = threading.RLock()
        with self._told():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._prepare()

    def _prepare(self) -> None:
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found > VERSION:
            raise OutputError(
                f"the store {self.path} was made by a newer ilk; update ilk, "
                "or name another file in ILK_STORE"
            )
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA foreign_keys = ON")
        if found < VERSION:
            self._db.executescript(SCHEMA)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what SQLite and the disk say into a sentence."""
        try:
            with self._lock:
                yield
        except (sqlite3.Error, OSError) as error:
            why = str(error)
            remedy = "free some space, or name a file on another disk in ILK_STORE"
            if "not a database" in why or "malformed" in why:
                remedy = "move that file away, or name another in ILK_STORE"
            elif "readonly" in why or "unable to open" in why or isinstance(error, PermissionError):
                remedy = "name a file that can be written in ILK_STORE"
            raise OutputError(
                f"the store {self.path} cannot be used: {why}; {remedy}. "
                "What is already in it is kept"
            ) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file; rows that were put are already on disk."""
        with self._lock:
            self._db.close()

    def __del__(self) -> None:
        if hasattr(self, "_db"):
            self._db.close()

    def _space_id(self, space: Space) -> int | None:
        row = self._db.execute("SELECT id, dim FROM spaces WHERE key = ?", (space.key,)).fetchone()
        if row and row[1] != space.dim:
            raise ValueError(f"{space.name}: the store holds {row[1]} columns, not {space.dim}")
        return int(row[0]) if row else None

    def missing(self, space: Space, digests: Iterable[str]) -> list[str]:
        """Those of `digests` (hex, SHA-256) that `space` does not hold, once each, in order."""
        wanted = list(dict.fromkeys(digests))
        with self._told():
            at = self._space_id(space)
            if at is None:
                return wanted
            held = {
                row[0].hex()
                for part in _chunks(wanted)
                for row in self._db.execute(
                    f"SELECT digest FROM features WHERE space = ? AND digest IN ({_marks(part)})",
                    (at, *map(bytes.fromhex, part)),
                )
            }
        return [d for d in wanted if d not in held]

    def put(self, space: Space, digests: Sequence[str], values: Features) -> None:
        """Add rows `[n, dim]`, all or none; a row that is there already is left as it is."""
        block = np.ascontiguousarray(values, "<f4")
        if block.shape != (len(digests), space.dim):
            raise ValueError(f"rows of shape {block.shape}; expected {(len(digests), space.dim)}")
        if not np.isfinite(block).all():
            raise FloatingPointError(f"{space.name} gave features that are not finite")
        with self._writing():
            self._db.execute(
                "INSERT OR IGNORE INTO spaces (key, name, dim) VALUES (?, ?, ?)",
                (space.key, space.name, space.dim),
            )
            at = self._space_id(space)
            self._db.executemany(
                "INSERT OR IGNORE INTO features VALUES (?, ?, ?)",
                (
                    (at, bytes.fromhex(d), row.tobytes())
                    for d, row in zip(digests, block, strict=True)
                ),
            )

    def get(self, space: Space, digests: Sequence[str]) -> Features:
        """The rows of `digests`, `[n, dim]`, in that order.

        Raises:
            KeyError: A digest is not there.
        """
        out = np.empty((len(digests), space.dim), np.float32)
        places: dict[str, list[int]] = {}
        for i, digest in enumerate(digests):
            places.setdefault(digest, []).append(i)
        with self._told():
            at = self._space_id(space)
            for part in _chunks(list(places)):
                for digest, value in self._db.execute(
                    "SELECT digest, value FROM features "
                    f"WHERE space = ? AND digest IN ({_marks(part)})",
                    (at, *map(bytes.fromhex, part)),
                ):
                    out[places.pop(digest.hex())] = np.frombuffer(value, "<f4")
        if places:
            raise KeyError(f"{len(places)} rows of {space.name} are not in the store")
        return out

    def verdicts(self, digests: Iterable[str]) -> dict[str, tuple[str, str]]:
        """What decoding said of these contents before: digest to (reason or "", detail)."""
        wanted = list(dict.fromkeys(digests))
        with self._told():
            return {
                digest.hex(): (reason, detail)
                for part in _chunks(wanted)
                for digest, reason, detail in self._db.execute(
                    f"SELECT * FROM verdicts WHERE digest IN ({_marks(part)})",
                    tuple(map(bytes.fromhex, part)),
                )
            }

    def put_verdicts(self, verdicts: dict[str, tuple[str, str]]) -> None:
        """Remember what decoding said of these contents."""
        with self._writing():
            self._db.executemany(
                "INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?)",
                ((bytes.fromhex(d), *said) for d, said in verdicts.items()),
            )

    def spaces(self) -> list[tuple[Space, int]]:
        """What is held: each space and its number of rows."""
        with self._told():
            return [
                (Space(key, name, dim), n)
                for key, name, dim, n in self._db.execute(
                    "SELECT key, name, dim, (SELECT count(*) FROM features WHERE space = id) "
                    "FROM spaces ORDER BY name"
                )
            ]

    def size(self) -> int:
        """Bytes on disk, the journal included."""
        parts = [self.path, self.path.with_name(self.path.name + "-wal")]
        return sum(p.stat().st_size for p in parts if p.exists())

    def clear(self, name: str | None = None) -> int:
        """Drop the rows of encoder `name` (or of all, and the verdicts); how many rows went."""
        with self._writing():
            which, args = ("name = ?", (name,)) if name else ("1", ())
            rows = f"FROM features WHERE space IN (SELECT id FROM spaces WHERE {which})"
            gone = self._db.execute(f"SELECT count(*) {rows}", args).fetchone()[0]
            self._db.execute(f"DELETE {rows}", args)
            self._db.execute(f"DELETE FROM spaces WHERE {which}", args)
            if name is None:
                self._db.execute("DELETE FROM verdicts")
        with self._told():
            self._db.execute("VACUUM")
        return int(gone)


def _chunks(items: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def _marks(items: Sequence[object]) -> str:
    return ",".join("?" * len(items))
