"""The feature store: every image is encoded once per encoder.

One SQLite file in the user's cache folder (`ILK_STORE` sets another). SQLite provides the
guarantees: a row is complete or absent whenever a process is killed, several processes may write at
once, and only requested rows are in memory.

A row's address is a *space* (digest of encoder, weights, preprocessing and precision) and the
digest of the image file's bytes. Beside it stand what decoding the file gave: whether it can be
decoded, and a summary of its pixels. Each row has a checksum of its address and its values: a
damaged row counts as missing and is made again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

import numpy as np
from platformdirs import user_cache_path

from ilk.core.data import Features
from ilk.core.errors import OutputError
from ilk.core.space import FeatureSpace
from ilk.images.inspection.pixel_summary import PixelSummary

SCHEMA_VERSION = 3
CHUNK_SIZE = 500  # rows per query; the oldest builds of SQLite allow 999 parameters
BUSY_SECONDS = 30.0  # others write for less than a second at a time

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS spaces (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL, dim INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS features (
    space INTEGER NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    digest BLOB NOT NULL, value BLOB NOT NULL, checksum INTEGER NOT NULL DEFAULT -1,
    UNIQUE (space, digest));
CREATE TABLE IF NOT EXISTS verdicts (
    digest BLOB PRIMARY KEY, reason TEXT NOT NULL, detail TEXT NOT NULL,
    checksum INTEGER NOT NULL DEFAULT -1) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pixels (
    digest BLOB PRIMARY KEY, pixel_digest BLOB NOT NULL, thumbnail BLOB NOT NULL,
    checksum INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {SCHEMA_VERSION};
"""
MEASUREMENTS = """
CREATE TABLE IF NOT EXISTS measurements (
    name TEXT NOT NULL, digest BLOB NOT NULL, first REAL NOT NULL, second REAL NOT NULL,
    checksum INTEGER NOT NULL, PRIMARY KEY (name, digest)) WITHOUT ROWID;
"""  # of no version: an older ilk leaves the table alone
ADD_CHECKSUMS = """  -- version 1 to 2
BEGIN IMMEDIATE;
ALTER TABLE features ADD COLUMN checksum INTEGER NOT NULL DEFAULT -1;
ALTER TABLE verdicts ADD COLUMN checksum INTEGER NOT NULL DEFAULT -1;
UPDATE features SET checksum =
    compute_checksum((SELECT key FROM spaces WHERE id = space), digest, value);
UPDATE verdicts SET checksum = compute_checksum(digest, reason, detail);
PRAGMA user_version = 2;
COMMIT;
"""


def get_default_path() -> Path:
    """Return the path of the store: `$ILK_STORE`, else in the user's cache folder."""
    env_path = os.environ.get("ILK_STORE")
    return Path(env_path) if env_path else user_cache_path("ilk", appauthor=False) / "store.sqlite"


def compute_checksum(*values: str | bytes) -> int:
    """Return the CRC-32 of texts and bytes, in this order."""
    checksum = 0
    for value in values:
        checksum = crc32(
            value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value, checksum
        )
    return checksum


class Store:
    """Features by content. Safe to use from several threads and processes at once.

    Raises:
        OutputError: The file cannot be created or written, is full, or is not a store.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = Path(path) if path is not None else get_default_path()
        self._lock = threading.RLock()
        with self._translate_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            # Damaged text must not keep the intact rows from being read.
            self._db.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
            self._prepare()

    def _prepare(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise OutputError(
                f"the store {self.path} was created by a newer ilk; update ilk, "
                "or set ILK_STORE to another file"
            )
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA foreign_keys = ON")
        if version == 1:
            self._add_checksums()
        if version < SCHEMA_VERSION:
            self._db.executescript(SCHEMA)
        self._db.execute(MEASUREMENTS)

    def _add_checksums(self) -> None:
        """Upgrade the rows of a store of version 1, unless another process has just done it."""
        self._db.create_function("compute_checksum", -1, compute_checksum, deterministic=True)
        try:
            self._db.executescript(ADD_CHECKSUMS)
        except sqlite3.OperationalError as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if "duplicate column" not in str(error):
                raise

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Translate errors of SQLite and the file system into messages."""
        try:
            with self._lock:
                yield
        except (sqlite3.Error, OSError) as error:
            message = str(error)
            remedy = "free some space, or set ILK_STORE to a file on another disk"
            if "locked" in message:
                message = f"another process has been using it for {BUSY_SECONDS:.0f} s"
                remedy = "wait for it to end, or set ILK_STORE to another file"
            elif "not a database" in message or "malformed" in message:
                remedy = "move that file away, or set ILK_STORE to another"
            elif (
                "readonly" in message
                or "unable to open" in message
                or isinstance(error, PermissionError)
            ):
                remedy = "set ILK_STORE to a writable file"
            raise OutputError(
                f"the store {self.path} cannot be used: {message}; {remedy}. "
                "Rows that are already stored are not lost"
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._translate_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file; all rows are already on disk."""
        with self._lock:
            self._db.close()

    def __del__(self) -> None:
        if hasattr(self, "_db"):
            self._db.close()

    def _space_id(self, space: FeatureSpace) -> int | None:
        row = self._db.execute("SELECT id, dim FROM spaces WHERE key = ?", (space.key,)).fetchone()
        if row and row[1] != space.dim:
            raise OutputError(
                f"the store {self.path} holds {row[1]} features per row of {space.name}, not "
                f"{space.dim}: it is damaged; empty it: ilk store --clear"
            )
        return int(row[0]) if row else None

    def find_missing(self, space: FeatureSpace, digests: Iterable[str]) -> list[str]:
        """Return those of `digests` (hex, SHA-256) that `space` lacks, once each, in order.

        Damaged rows are deleted and count as missing.
        """
        unique = list(dict.fromkeys(digests))
        if space.parts:
            lacking = {d for part in space.parts for d in self.find_missing(part, unique)}
            return [d for d in unique if d in lacking]
        stored: set[str] = set()
        damaged: list[bytes] = []
        with self._translate_errors():
            space_id = self._space_id(space)
            if space_id is None:
                return unique
            for digest, value, checksum in self._iter_rows(space_id, unique):
                if is_intact(space, digest, value, checksum):
                    stored.add(digest.hex())
                else:
                    damaged.append(digest)
        if damaged:
            with self._transaction():
                self._db.executemany(
                    "DELETE FROM features WHERE space = ? AND digest = ?",
                    ((space_id, digest) for digest in damaged),
                )
        return [d for d in unique if d not in stored]

    def _iter_rows(self, space_id: int, digests: list[str]) -> Iterator[tuple[bytes, bytes, int]]:
        """Yield digest, values and checksum of the rows of `digests` that are stored."""
        for part in _iter_chunks(digests):
            yield from self._db.execute(
                "SELECT digest, value, checksum FROM features "
                f"WHERE space = ? AND digest IN ({_make_placeholders(part)})",
                (space_id, *map(bytes.fromhex, part)),
            )

    def put(self, space: FeatureSpace, digests: Sequence[str], values: Features) -> None:
        """Add rows `[n, dim]`, all or none; existing rows stay unchanged.

        Rows of several encoders side by side are stored under each of its parts.

        Raises:
            ValueError: The shape does not match.
            FloatingPointError: A value is not finite.
            OutputError: The store cannot be written.
        """
        block = np.ascontiguousarray(values, "<f4")
        if block.shape != (len(digests), space.dim):
            raise ValueError(f"rows of shape {block.shape}; expected {(len(digests), space.dim)}")
        if not np.isfinite(block).all():
            raise FloatingPointError(f"{space.name} returned features that are not finite")
        if space.parts:
            for target, columns in zip(space.parts, _split_columns(space, block), strict=True):
                self.put(target, digests, columns)
            return
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO spaces (key, name, dim) VALUES (?, ?, ?)",
                (space.key, space.name, space.dim),
            )
            space_id = self._space_id(space)
            self._db.executemany(
                "INSERT OR IGNORE INTO features VALUES (?, ?, ?, ?)",
                (
                    (space_id, digest, value, compute_checksum(space.key, digest, value))
                    for digest, value in zip(
                        map(bytes.fromhex, digests), (row.tobytes() for row in block), strict=True
                    )
                ),
            )

    def get(self, space: FeatureSpace, digests: Sequence[str]) -> Features:
        """Return the rows of `digests`, `[n, dim]`, in that order.

        Raises:
            OutputError: A row is missing or damaged.
        """
        out = np.empty((len(digests), space.dim), np.float32)
        self._read_into(out, space, digests)
        return out

    def _read_into(self, out: Features, space: FeatureSpace, digests: Sequence[str]) -> None:
        if space.parts:
            for source, columns in zip(space.parts, _split_columns(space, out), strict=True):
                self._read_into(columns, source, digests)
            return
        positions: dict[str, list[int]] = {}
        for i, hexadecimal in enumerate(digests):
            positions.setdefault(hexadecimal, []).append(i)
        with self._translate_errors():
            space_id = self._space_id(space)
            rows = [] if space_id is None else self._iter_rows(space_id, list(positions))
            for digest, value, checksum in rows:
                if is_intact(space, digest, value, checksum):
                    out[positions.pop(digest.hex())] = np.frombuffer(value, "<f4")
        if positions:
            raise OutputError(
                f"{len(positions)} rows of {space.name} are missing or damaged in the store "
                f"{self.path}; run the command again, which encodes them anew, or empty the store: "
                f"ilk store --clear"
            )

    def get_decode_results(self, digests: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Return cached decode results: digest to (reason or "", detail)."""
        unique = list(dict.fromkeys(digests))
        with self._translate_errors():
            return {
                digest.hex(): (reason, detail)
                for part in _iter_chunks(unique)
                for digest, reason, detail, checksum in self._db.execute(
                    "SELECT digest, reason, detail, checksum FROM verdicts "
                    f"WHERE digest IN ({_make_placeholders(part)})",
                    tuple(map(bytes.fromhex, part)),
                )
                if checksum == compute_checksum(digest, reason, detail)
            }

    def put_decode_results(self, results: dict[str, tuple[str, str]]) -> None:
        """Cache decode results by content."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?)",
                (
                    (digest, *result, compute_checksum(digest, *result))
                    for digest, result in ((bytes.fromhex(d), r) for d, r in results.items())
                ),
            )

    def get_measurements(self, name: str, digests: Iterable[str]) -> dict[str, tuple[float, float]]:
        """Return what was measured under a name: digest to two numbers; damaged rows are absent."""
        unique = list(dict.fromkeys(digests))
        with self._translate_errors():
            return {
                digest.hex(): (first, second)
                for part in _iter_chunks(unique)
                for digest, first, second, checksum in self._db.execute(
                    "SELECT digest, first, second, checksum FROM measurements "
                    f"WHERE name = ? AND digest IN ({_make_placeholders(part)})",
                    (name, *map(bytes.fromhex, part)),
                )
                if isinstance(digest, bytes)
                and checksum == compute_checksum(name, digest, repr((first, second)))
            }

    def put_measurements(self, name: str, values: Mapping[str, tuple[float, float]]) -> None:
        """Keep two numbers per image under a name, such as its least and greatest value."""
        rows = [
            (name, bytes.fromhex(digest), float(first), float(second))
            for digest, (first, second) in values.items()
        ]
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO measurements VALUES (?, ?, ?, ?, ?)",
                ((*row, compute_checksum(row[0], row[1], repr((row[2], row[3])))) for row in rows),
            )

    def get_pixel_summaries(self, digests: Iterable[str]) -> dict[str, PixelSummary]:
        """Return what is kept of the pixels of files, by digest; damaged rows are left out."""
        return {
            digest.hex(): PixelSummary(pixel_digest.hex(), thumbnail)
            for digest, pixel_digest, thumbnail in self._iter_pixel_rows(digests)
        }

    def get_pixel_digests(self, digests: Iterable[str]) -> dict[str, str]:
        """Return the digests of the pixels of files, by digest; damaged rows are left out."""
        return {
            digest.hex(): pixel_digest.hex()
            for digest, pixel_digest, _ in self._iter_pixel_rows(digests)
        }

    def _iter_pixel_rows(self, digests: Iterable[str]) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Yield digest of the file, digest of the pixels and thumbnail of intact rows."""
        for part in _iter_chunks(list(dict.fromkeys(digests))):
            with self._translate_errors():
                rows = self._db.execute(
                    "SELECT digest, pixel_digest, thumbnail, checksum FROM pixels "
                    f"WHERE digest IN ({_make_placeholders(part)})",
                    tuple(map(bytes.fromhex, part)),
                ).fetchall()
            for *values, checksum in rows:
                if all(isinstance(value, bytes) for value in values) and (
                    checksum == compute_checksum(*values)
                ):
                    digest, pixel_digest, thumbnail = values
                    yield digest, pixel_digest, thumbnail

    def put_pixel_summaries(self, summaries: Mapping[str, PixelSummary]) -> None:
        """Keep summaries of pixels by digest of the file; they replace damaged rows."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO pixels VALUES (?, ?, ?, ?)",
                (
                    (*values, compute_checksum(*values))
                    for values in (
                        (bytes.fromhex(digest), bytes.fromhex(summary.digest), summary.thumbnail)
                        for digest, summary in summaries.items()
                    )
                ),
            )

    def list_spaces(self) -> list[tuple[FeatureSpace, int]]:
        """List each space with its number of rows."""
        with self._translate_errors():
            return [
                (FeatureSpace(key, name, dim), n)
                for key, name, dim, n in self._db.execute(
                    "SELECT key, name, dim, (SELECT count(*) FROM features WHERE space = id) "
                    "FROM spaces ORDER BY name"
                )
            ]

    def size_on_disk(self) -> int:
        """Size on disk in bytes, including the journal."""
        parts = [self.path, self.path.with_name(self.path.name + "-wal")]
        return sum(p.stat().st_size for p in parts if p.exists())

    def clear(self, name: str | None = None) -> int:
        """Delete the rows of encoder `name` (or everything); return the number of rows."""
        with self._transaction():
            condition, args = ("name = ?", (name,)) if name else ("1", ())
            rows = f"FROM features WHERE space IN (SELECT id FROM spaces WHERE {condition})"
            n_deleted = self._db.execute(f"SELECT count(*) {rows}", args).fetchone()[0]
            self._db.execute(f"DELETE {rows}", args)
            self._db.execute(f"DELETE FROM spaces WHERE {condition}", args)
            if name is None:
                self._db.execute("DELETE FROM verdicts")
                self._db.execute("DELETE FROM measurements")
                self._db.execute("DELETE FROM pixels")
        with self._translate_errors():
            self._db.execute("VACUUM")
        return int(n_deleted)


def is_intact(space: FeatureSpace, digest: object, value: object, checksum: object) -> bool:
    """Whether a stored row is what was put: a damaged file may also hold values of other types."""
    return (
        isinstance(digest, bytes)
        and isinstance(value, bytes)
        and len(value) == 4 * space.dim
        and checksum == compute_checksum(space.key, digest, value)
    )


def _split_columns(space: FeatureSpace, rows: Features) -> list[Features]:
    """Return views of the columns `[n, d]` of each part of a space."""
    ends = np.cumsum([part.dim for part in space.parts])
    return np.split(rows, ends[:-1], axis=1)


def _iter_chunks(items: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(items), CHUNK_SIZE):
        yield items[start : start + CHUNK_SIZE]


def _make_placeholders(items: Sequence[object]) -> str:
    return ",".join("?" * len(items))
