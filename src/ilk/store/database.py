"""The file of the store: opened, upgraded, locked, and its errors in sentences."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

from ilk.core.errors import OutputError
from ilk.core.network_disk import find_network_type
from ilk.core.terminal_text import escape_line
from ilk.store.schema import ADD_CHECKSUMS, MEASUREMENTS, SCHEMA, SCHEMA_VERSION, compute_checksum

CHUNK_SIZE = 500  # rows per query; the oldest builds of SQLite allow 999 parameters
BUSY_SECONDS = 30.0  # others write for less than a second at a time


def get_default_path() -> Path:
    """Return the path of the store: `$ILK_STORE`, else in the user's cache folder."""
    env_path = os.environ.get("ILK_STORE")
    return Path(env_path) if env_path else user_cache_path("ilk", appauthor=False) / "store.sqlite"


class Database:
    """An SQLite file that several threads and processes may use at once.

    Raises:
        OutputError: The file cannot be created or written, is full, or is not a store.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = Path(path) if path is not None else get_default_path()
        self.note = ""  # what is to be known of where it lies
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
        network = find_network_type(self.path)
        # Processes that share a write-ahead log share memory, which two machines do not.
        self._db.execute(f"PRAGMA journal_mode = {'DELETE' if network else 'WAL'}")
        self.note = describe_store_on_network(self.path, network)
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
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:  # even of SQLite's messages
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

    def size_on_disk(self) -> int:
        """Size on disk in bytes, including the journal."""
        parts = [self.path, self.path.with_name(self.path.name + "-wal")]
        return sum(p.stat().st_size for p in parts if p.exists())


def describe_store_on_network(path: Path, network: str) -> str:
    """Return a warning about a store on a network disk of type `network`, "" if it is none."""
    if not network:
        return ""
    return (
        f"the store {escape_line(str(path))} is on a network disk ({network}), where it is slow "
        "and must not be used from two machines at once; set ILK_STORE to a file on a local disk, "
        "and where several machines encode, use shards: ilk encode DIR --out SHARDS"
    )


def iter_chunks(items: list[str]) -> Iterator[list[str]]:
    """Yield as many items at a time as a query may name."""
    for start in range(0, len(items), CHUNK_SIZE):
        yield items[start : start + CHUNK_SIZE]


def make_placeholders(items: Sequence[object]) -> str:
    """Return as many question marks as there are items."""
    return ",".join("?" * len(items))
