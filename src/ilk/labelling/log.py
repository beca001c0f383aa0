"""`EventLog`: an append-only SQLite file that no crash takes an answer from.

An event is on the disk when `append` returns: one transaction with `synchronous = EXTRA`, which
also flushes the folder after the journal is deleted. The journal is a rollback journal and not a
write-ahead log, whose shared memory must not lie on a network disk. Triggers refuse to change or
delete an event; taking an answer back is another event.

A lock file keeps a second writer away; the operating system releases it however a process ends.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilk.core.errors import ArtifactError, InputError, OutputError
from ilk.images import escape_path
from ilk.labelling.events import OPEN, Event
from ilk.labelling.network_disk import describe_network_disk

if TYPE_CHECKING:
    from filelock import BaseFileLock

APPLICATION_ID = 0x696C6B4C  # "ilkL"
VERSION = 1
LOCK_SUFFIX = ".lock"
SQLITE_HEAD = b"SQLite format 3\0"  # how every database begins
SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, annotator TEXT NOT NULL,
    kind TEXT NOT NULL, digests TEXT NOT NULL, label TEXT NOT NULL, target INTEGER NOT NULL,
    detail TEXT NOT NULL, key TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS keys ON events (key) WHERE key != '';
CREATE TRIGGER IF NOT EXISTS keep_events BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER IF NOT EXISTS keep_all_events BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END;
"""
COLUMNS = "number, time, annotator, kind, digests, label, target, detail, key"


class EventLog:
    """All events of a labelling session. Safe to use from several threads.

    Args:
        path: The file, which is created if missing, unless `read_only`.
        read_only: Read the events while another process may be writing; `append` is refused.

    Raises:
        OutputError: The file cannot be created or written, or another process writes to it.
        ArtifactError: The file is not a log, is damaged, or is of a newer version of ilk.
        InputError: There is no file, and it would only be read.
    """

    def __init__(self, path: str | os.PathLike[str], *, read_only: bool = False) -> None:
        self.path, self.is_read_only = Path(path), read_only
        self.note = ""
        self._lock = threading.RLock()
        self._file_lock: BaseFileLock | None = None
        self._db: sqlite3.Connection | None = None
        if read_only and not self.path.is_file():
            raise InputError(
                f"there is no log of labels at {self._shown}; label some images first, or name the "
                "log with --log"
            )
        try:
            if not read_only:
                self._take_lock()
                self.note = describe_network_disk(self.path)
            with self._translate_errors():
                self._open()
        except BaseException:
            self.close()
            raise

    @property
    def _shown(self) -> str:
        return escape_path(self.path)

    def _take_lock(self) -> None:
        from filelock import FileLock, Timeout  # slow to import

        if self.path.is_dir():
            raise OutputError(f"{self._shown} is a folder; name a file for the log of labels")
        self._refuse_other_file()
        lock = FileLock(f"{self.path}{LOCK_SUFFIX}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            raise OutputError(
                f"another ilk process is labelling with the log {self._shown}; open its page, or "
                "stop it first"
            ) from None
        except OSError as error:
            raise OutputError(
                f"cannot write the log {self._shown}: {error.strerror or error}; name another file"
            ) from error
        self._file_lock = lock

    def _refuse_other_file(self) -> None:
        """Refuse a file that is not a database before a lock file is put beside it."""
        try:
            with self.path.open("rb") as file:
                head = file.read(len(SQLITE_HEAD))
        except OSError:  # there is none, or opening it says why not
            return
        if head and head != SQLITE_HEAD:
            raise ArtifactError(
                f"{self._shown} is damaged or not a log of labels; move it away, or name another "
                "file"
            )

    def _open(self) -> None:
        if self.is_read_only:
            uri = f"{self.path.resolve().as_uri()}?mode=rw"
            db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        else:
            db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._db = db
        if not self.is_read_only:
            db.execute("PRAGMA journal_mode = DELETE")
            db.execute("PRAGMA synchronous = EXTRA")
        self._check_kind()
        if not self.is_read_only:
            db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
            problem = db.execute("PRAGMA quick_check").fetchone()[0]
            if problem != "ok":
                raise sqlite3.DatabaseError(f"malformed: {problem}")

    def _check_kind(self) -> None:
        """Refuse an SQLite file that is not a log, or of a newer version."""
        has_tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        application = self._connection.execute("PRAGMA application_id").fetchone()[0]
        if has_tables and application != APPLICATION_ID:
            raise ArtifactError(f"{self._shown} is not a log of labels; name another file")
        if self._connection.execute("PRAGMA user_version").fetchone()[0] > VERSION:
            raise ArtifactError(
                f"the log {self._shown} was written by a newer ilk; update ilk, or name another log"
            )

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise OutputError(f"the log {self._shown} is closed; open it again")
        return self._db

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except (sqlite3.Error, OSError) as error:
            message = str(error)
            if "not a database" in message or "malformed" in message:
                raise ArtifactError(
                    f"the log {self._shown} is damaged or not a log of labels ({message}); move it "
                    "away, or restore a copy"
                ) from error
            raise OutputError(
                f"the log {self._shown} cannot be used: {message}; free some space or make it "
                "writable, and try again. What was answered before is not lost"
            ) from error

    def append(
        self,
        annotator: str,
        kind: str,
        digests: Sequence[str] = (),
        label: str = "",
        *,
        target: int = 0,
        detail: Any = None,
        key: str = "",
    ) -> Event:
        """Write one event to the disk and return it; it is there when this returns.

        A `key` that is not "" must be new.

        Raises:
            OutputError: The disk is full or the file cannot be written; nothing is changed.
        """
        if self.is_read_only:
            raise OutputError(f"the log {self._shown} is only read; open it for labelling")
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        text = "" if detail is None else json.dumps(detail)
        values = (now, annotator, kind, json.dumps(list(digests)), label, target, text, key)
        with self._translate_errors():
            number = self._connection.execute(
                "INSERT INTO events (time, annotator, kind, digests, label, target, detail, key) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            ).lastrowid
        return Event(
            int(number or 0), now, annotator, kind, tuple(digests), label, target, text, key
        )

    def read_events(self, after: int = 0) -> list[Event]:
        """Return the events after number `after`, in order.

        Raises:
            ArtifactError: The file is damaged.
        """
        with self._translate_errors():
            try:
                rows = self._connection.execute(
                    f"SELECT {COLUMNS} FROM events WHERE number > ? ORDER BY number", (after,)
                ).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):  # created, and nothing written yet
                    return []
                raise
            try:
                return [_read_event(row) for row in rows]
            except (ValueError, TypeError, LookupError, RecursionError) as error:
                raise sqlite3.DatabaseError(f"malformed event: {error}") from error

    def close(self) -> None:
        """Close the file and release its lock; all events are already on the disk."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None
            if self._file_lock is not None:
                self._file_lock.release()
                self._file_lock = None


def _read_event(row: tuple[Any, ...]) -> Event:
    number, time, annotator, kind, digests, label, target, detail, key = row
    named = json.loads(digests)
    texts = (time, annotator, kind, label, detail, key, *named)
    if not isinstance(named, list) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"event {number} has values of another type")
    if kind == OPEN and detail:
        json.loads(detail)["source"]
    return Event(number, time, annotator, kind, tuple(named), label, int(target), detail, key)
