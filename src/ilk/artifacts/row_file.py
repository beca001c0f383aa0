"""Write a table row by row, so that what is computed is on disk.

Rows go to `x.csv.part`, which may be watched while it grows, and `x.csv` appears, or is replaced,
when all are there: a table is either complete or has another name. After an interruption the part
holds whole lines only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ilk.core.errors import OutputError
from ilk.images import escape_path

PART_SUFFIX = ".part"


def get_part_path(path: Path) -> Path:
    """Return the path that holds the rows of `path` until they are complete."""
    return path.with_name(path.name + PART_SUFFIX)


@contextmanager
def open_rows(path: Path) -> Iterator[Callable[[str], None]]:
    """Return a function that writes a line; the file appears when the block ends without an error.

    Args:
        path: The file; surrogates in lines become the bytes that they stand for (PEP 383).

    Raises:
        OutputError: It cannot be written, or another process writes it. The old file is intact.
    """
    part = get_part_path(path)
    n_lines = 0
    try:
        file = _open_locked(part)
    except OSError as error:
        raise _make_error(path, error, part, n_lines) from error

    n_bytes = 0

    def write(line: str) -> None:
        nonlocal n_lines, n_bytes
        data = line.encode("utf-8", "surrogateescape")
        try:
            _write_all(file, data)  # at once: nothing is buffered
        except OSError as error:
            with suppress(OSError):
                file.truncate(n_bytes)  # whole lines only
            raise _make_error(path, error, part, n_lines) from error
        n_lines += 1
        n_bytes += len(data)

    try:
        with file:
            yield write
            os.fsync(file.fileno())
            if os.name != "nt":
                os.replace(part, path)  # before the lock is released
        if os.name == "nt":
            os.replace(part, path)
    except OSError as error:
        raise _make_error(path, error, part, n_lines) from error
    except BaseException:
        if n_lines < 2:  # a header at most
            with suppress(OSError):
                part.unlink()
        raise


def _write_all(file: IO[bytes], data: bytes) -> None:
    """Write all bytes, of which a full disk takes a part before it fails."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _open_locked(part: Path) -> IO[bytes]:
    """Open the part, empty, unless another process writes it; one left by a killed one is lost.

    Raises:
        OutputError: Another process writes it.
    """
    while True:
        file = open(part, "ab", buffering=0)  # noqa: SIM115  (closed by the caller)
        try:
            _lock(file)
            # The other process may have moved it to its place between the two steps.
            if os.path.exists(part) and os.path.samestat(os.fstat(file.fileno()), os.stat(part)):
                file.truncate(0)
                return file
        except BlockingIOError:
            file.close()
            raise OutputError(
                f"another ilk process is writing {escape_path(part)}; wait for it to end, or name "
                "another file with --out"
            ) from None
        except BaseException:
            file.close()
            raise
        file.close()


def _lock(file: IO[bytes]) -> None:
    """Lock a file until it is closed; a file system without locks goes without."""
    try:
        import fcntl
    except ImportError:  # Windows, where a file that is open cannot be replaced
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return


def _make_error(path: Path, error: OSError, part: Path, n_lines: int) -> OutputError:
    kept = f"; the rows so far are in {escape_path(part)}" if n_lines > 1 else ""
    return OutputError(
        f"cannot write {escape_path(path)}: {error.strerror or error}{kept}; free some space or "
        "choose another location"
    )
