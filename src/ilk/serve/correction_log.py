"""What users corrected, in an append-only SQLite file beside the model.

Each line is on the disk before its request is answered, so that nothing is lost when the process
is killed. The image itself is kept as well: for the next `ilk fit`, and in case the encoder
changes.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ilk.core.data import Features
from ilk.core.errors import OutputError
from ilk.core.versions import format_now

FILE = "corrections.sqlite"
CORRECT, WITHDRAW, SAVE, RESTORE = "correct", "withdraw", "save", "restore"
SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
  number INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, event TEXT NOT NULL,
  digest TEXT NOT NULL DEFAULT '', name TEXT NOT NULL DEFAULT '', label TEXT NOT NULL DEFAULT '',
  space TEXT NOT NULL DEFAULT '', features BLOB, image BLOB, details TEXT NOT NULL DEFAULT '{}'
);
CREATE TRIGGER IF NOT EXISTS never_changed BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER IF NOT EXISTS never_deleted BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
"""
LAST = "(SELECT coalesce(max(number), 0) FROM events)"


@dataclass(frozen=True)
class Correction:
    """An image and the class that a user says it has.

    Attributes:
        number: Its number in the log, from 1.
        time: When it was made.
        digest: SHA-256 of the image, hex.
        name: What the client calls the image.
        label: The class.
        space: Key of the feature space of `features`.
        features: Features of the image, `[d]` float32.
    """

    number: int
    time: str
    digest: str
    name: str
    label: str
    space: str
    features: Features = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return what a client is told."""
        names = ("number", "time", "digest", "name", "label")
        return {name: getattr(self, name) for name in names}


class CorrectionLog:
    """The log of one model folder; created when something is first written. Thread-safe.

    Args:
        folder: The model folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path, self._lock = folder / FILE, threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def add_correction(
        self,
        digest: str,
        name: str,
        label: str,
        space: str,
        features: Features,
        image: bytes,
        after: int | None = None,
    ) -> int:
        """Write a correction and return its number; 0 if something else was written before it.

        Args:
            digest: SHA-256 of the image, hex.
            name: What the client calls the image.
            label: Its class.
            space: Key of the feature space.
            features: Features of the image, `[d]`.
            image: Bytes of the image file.
            after: Number of the last event that the caller knows; None writes whatever there is.

        Raises:
            OutputError: The file cannot be written.
        """
        values = np.ascontiguousarray(features, "<f4").tobytes()
        return self._append(
            ("time", "event", "digest", "name", "label", "space", "features", "image"),
            (format_now(), CORRECT, digest, name, label, space, values, image),
            after,
        )

    def add_event(self, event: str, *, after: int | None = None, **details: Any) -> int:
        """Write another event and return its number; 0 and `after` as in `add_correction`.

        Raises:
            OutputError: The file cannot be written.
        """
        values = (format_now(), event, json.dumps(details))
        return self._append(("time", "event", "details"), values, after)

    def find_last(self) -> int:
        """Return the number of the last event, 0 without any.

        Raises:
            OutputError: The file cannot be read, or is damaged.
        """
        if not self.path.exists():
            return 0
        with self._open() as connection:
            (number,) = connection.execute(f"SELECT {LAST}").fetchone()
        return int(number)

    def list_pending(self) -> list[Correction]:
        """Return the corrections that are neither withdrawn nor saved, in order.

        Of several for one image, the last one counts.

        Raises:
            OutputError: The file cannot be read, or is damaged.
        """
        if not self.path.exists():
            return []
        columns = "number, time, event, digest, name, label, space, features, details"
        with self._open() as connection:
            rows = connection.execute(f"SELECT {columns} FROM events ORDER BY number").fetchall()
            try:
                return _find_pending(rows)
            except (ValueError, TypeError, LookupError, RecursionError) as error:
                raise sqlite3.DatabaseError(f"malformed event: {error}") from error

    def read_image(self, number: int) -> bytes:
        """Return the image of a correction; empty if there is no such correction.

        Raises:
            OutputError: The file cannot be read.
        """
        if not self.path.exists():
            return b""
        with self._open() as connection:
            row = connection.execute(
                "SELECT image FROM events WHERE number = ?", (number,)
            ).fetchone()
        return bytes(row[0]) if row and row[0] else b""

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _append(self, columns: tuple[str, ...], values: tuple[Any, ...], after: int | None) -> int:
        """Write an event in one statement, so that no other process writes in between."""
        marks = ", ".join("?" * len(values))
        statement = f"INSERT INTO events ({', '.join(columns)}) SELECT {marks}"
        if after is not None:
            statement, values = f"{statement} WHERE {LAST} = ?", (*values, after)
        with self._open() as connection, connection:
            written = connection.execute(statement, values)
            return int(written.lastrowid or 0) if written.rowcount else 0

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                if self._connection is None:
                    connection = sqlite3.connect(self.path, timeout=10, check_same_thread=False)
                    connection.execute("PRAGMA synchronous = FULL")
                    connection.executescript(SCHEMA)
                    self._connection = connection
                yield self._connection
            except sqlite3.Error as error:
                raise OutputError(
                    f"the log of corrections {self.path} cannot be used ({error}); the model still "
                    "answers, but nothing can be corrected: free space on the disk, or move the "
                    "file away if it is damaged"
                ) from None


def _find_pending(rows: Iterable[tuple[Any, ...]]) -> list[Correction]:
    """Return the corrections that stand after all events."""
    pending: dict[str, Correction] = {}
    for number, time, event, digest, name, label, space, features, text in rows:
        if event == CORRECT:
            if not all(isinstance(value, str) for value in (time, digest, name, label, space)):
                raise TypeError(f"event {number} has bytes where text belongs")
            values = np.frombuffer(features, "<f4")
            pending.pop(digest, None)
            pending[digest] = Correction(number, time, digest, name, label, space, values)
        elif event in (WITHDRAW, SAVE):
            gone = set(json.loads(text)["numbers"])
            pending = {d: c for d, c in pending.items() if c.number not in gone}
    return list(pending.values())
