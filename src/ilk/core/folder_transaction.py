"""Replace several files of a folder in one step, whenever the process is killed.

New contents are written beside the files they replace. Then one file, the commit record, lists what
is to be renamed and deleted, and from that moment the folder is in its new state: renaming is
repeated by whoever opens the folder next, until nothing is left of the record. Before that moment
the folder is in its old state, and the files beside are deleted by the next transaction.

A lock file keeps two processes from changing one folder at once. The operating system releases it
when a process ends, however it ends.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from ilk.core.atomic_write import replace_atomically, write_atomically
from ilk.core.errors import ArtifactError, OutputError
from ilk.core.regular_file import read_regular_file

LOCK_FILE = ".ilk.lock"
HOLDER_FILE = ".ilk.holder"  # which process holds the lock; means nothing while the lock is free
COMMIT_FILE = ".ilk.commit"
NEW_SUFFIX = ".ilk-new"  # of a file that is written but not yet in place
READ_SECONDS = 5.0  # how long a reader waits for a writer that has committed
POLL_SECONDS = 0.05  # between a reader's attempts to take the lock
MAX_HOLDER_LENGTH = 300


@contextmanager
def lock_folder(folder: Path, *, wait: float = 0.0, holder: str = "") -> Iterator[None]:
    """Hold the lock of `folder`, which is created if missing, and finish an interrupted commit.

    A process that holds the lock may take it again.

    Args:
        folder: Folder to lock.
        wait: Seconds to wait for a process that holds the lock.
        holder: Description of this process, which others that want the lock are shown.

    Raises:
        OutputError: Another process holds the lock, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout  # slow to import, and readers seldom need it

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.resolve() / LOCK_FILE, is_singleton=True)
        lock.acquire(timeout=wait)
    except Timeout:
        shown = _read_holder(folder)
        raise OutputError(
            f"another ilk process{f' ({shown})' if shown else ''} is writing to {folder}; wait for "
            "it to end, or choose another folder"
        ) from None
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror or error}; choose another folder"
        ) from error
    is_outermost = lock.lock_counter == 1
    try:
        if is_outermost:
            _write_holder(folder, holder)
        _finish_commit(folder)
        yield
    finally:
        if is_outermost and holder:
            _write_holder(folder, "")
        lock.release()


def _write_holder(folder: Path, holder: str) -> None:
    """Say who holds the lock; "" deletes what a process that was killed has said."""
    with suppress(OSError):  # it only serves a message
        if holder:
            (folder / HOLDER_FILE).write_text(holder[:MAX_HOLDER_LENGTH], "utf-8", "replace")
        else:
            (folder / HOLDER_FILE).unlink(missing_ok=True)


def _read_holder(folder: Path) -> str:
    try:
        with (folder / HOLDER_FILE).open(encoding="utf-8", errors="replace") as file:
            text = file.read(MAX_HOLDER_LENGTH)
    except OSError:
        return ""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def finish_commit(folder: Path) -> None:
    """Finish the commit of a process that was killed, if there is one; for readers.

    A process that is just committing is waited for, even if it keeps the lock afterwards.

    Raises:
        ArtifactError: The folder was left in the middle of a change and cannot be written.
    """
    deadline = time.monotonic() + READ_SECONDS
    while (folder / COMMIT_FILE).exists():
        try:
            with lock_folder(folder):
                return
        except OutputError as error:
            if time.monotonic() > deadline:
                raise ArtifactError(
                    f"a change of {folder} was interrupted and cannot be finished: {error}"
                ) from error
        time.sleep(POLL_SECONDS)


class FolderTransaction:
    """Files to be written to and deleted from a folder in one step. Hold the folder's lock.

    Args:
        folder: An existing folder.

    Raises:
        OutputError: A leftover of an earlier transaction cannot be deleted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written: list[str] = []
        self._deleted: list[str] = []
        _delete_leftovers(folder)

    def write(self, name: str, content: bytes) -> None:
        """Add a file to write: its path relative to the folder, with `/` as separator.

        Raises:
            OutputError: The disk is full, or the folder cannot be written.
        """
        self.write_with(name, lambda path: path.write_bytes(content))

    def write_with(self, name: str, write: Callable[[Path], object]) -> None:
        """Add a file that `write` writes to the path it is given; as `write` otherwise."""
        path = self.folder / (_check_name(name) + NEW_SUFFIX)
        for parent in (self.folder / part for part in PurePosixPath(name).parents[:-1]):
            if parent.is_symlink():  # files of another folder would be replaced
                raise OutputError(
                    f"{parent} is a link to another folder, whose files would be replaced; choose "
                    "another folder with --out"
                )
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_atomically(path, write, clean=False)  # all of the folder's are deleted already
        self._written.append(name)

    def delete(self, name: str) -> None:
        """Add a file to delete; it may be missing."""
        self._deleted.append(_check_name(name))

    def commit(self) -> None:
        """Put the new state in place.

        Raises:
            OutputError: The folder cannot be written. It is then still in its old state.
        """
        record = {"write": self._written, "delete": self._deleted}
        write_atomically(self.folder / COMMIT_FILE, json.dumps(record).encode())
        _finish_commit(self.folder)


def _check_name(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or path.name.endswith(NEW_SUFFIX):
        raise ValueError(f"{name!r} is not a path inside the folder")
    return name


def _finish_commit(folder: Path) -> None:
    """Rename and delete what the commit record lists, and then the record."""
    try:
        text = read_regular_file(folder / COMMIT_FILE)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ArtifactError(
            f"{folder / COMMIT_FILE} cannot be read: {error.strerror or error}; delete it and "
            "create the model again"
        ) from None
    try:
        record = json.loads(text)
        written, deleted = (list(map(_check_name, record[key])) for key in ("write", "delete"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ArtifactError(
            f"{folder / COMMIT_FILE} was not written by ilk; delete it and create the model again"
        ) from None
    try:
        for name in written:
            with suppress(FileNotFoundError):  # already renamed
                os.replace(folder / (name + NEW_SUFFIX), folder / name)
        for name in deleted:
            (folder / name).unlink(missing_ok=True)
        (folder / COMMIT_FILE).unlink()
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror or error}; the change will be finished by "
            "the next command that can write there"
        ) from error


def _delete_leftovers(folder: Path) -> None:
    """Delete what transactions that never committed have written."""
    try:
        for pattern in (f"*{NEW_SUFFIX}", f".*{NEW_SUFFIX}.*.part"):
            for path in list(folder.rglob(pattern)):
                path.unlink(missing_ok=True)
                for parent in path.relative_to(folder).parents[:-1]:
                    with suppress(OSError):  # other files are in it
                        (folder / parent).rmdir()
    except OSError as error:
        raise OutputError(
            f"cannot delete {error.filename}: {error.strerror or error}; choose another folder"
        ) from error
