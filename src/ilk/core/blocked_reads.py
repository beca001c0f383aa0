"""Files that give no answer, as on a drive that has been disconnected.

A read of such a file blocks its thread, perhaps for ever, and no program can end it. So every read
is noted with its thread, `ilk.core.worker_threads` looks for threads that have been in one for too
long and goes on without them, and a second attempt on such a file is refused at once.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ilk.core.errors import InputError

DEFAULT_SECONDS = 60.0
MAX_IN_A_ROW = 3  # files without an answer, and none with one in between, after which a run stops

_lock = threading.Lock()
_reads: dict[int, tuple[str, float]] = {}  # of each thread that is in a read: file, since when
_blocked: dict[str, int] = {}  # file: the thread that waits for it
_in_a_row: list[str] = []  # files without an answer since the last one that gave one


def get_limit() -> float:
    """Return for how many seconds a file may give no answer: `$ILK_READ_SECONDS`, else 60.

    Raises:
        InputError: The variable is not a positive number.
    """
    text = os.environ.get("ILK_READ_SECONDS", "")
    if not text:
        return DEFAULT_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise InputError(f"ILK_READ_SECONDS is {text!r}; set it to a number of seconds, such as 60")
    return seconds


@contextmanager
def watch_read(path: str) -> Iterator[None]:
    """Note that this thread reads `path`, from opening the file to its last byte.

    Raises:
        TimeoutError: Another thread still waits for an answer from this file.
    """
    if path in _blocked:
        raise TimeoutError(errno.ETIMEDOUT, f"no answer in {get_limit():g} s")
    thread = threading.get_ident()
    _reads[thread] = (path, time.monotonic())
    try:
        yield
    finally:
        _reads.pop(thread, None)
        if _blocked and _blocked.get(path) == thread:
            _blocked.pop(path, None)
        if _in_a_row:
            _in_a_row.clear()


def is_blocked(thread: int) -> bool:
    """Whether a thread has been in one read for too long; the file is then refused elsewhere.

    Raises:
        InputError: Several files in a row gave no answer, so that the next ones will not either.
    """
    entry = _reads.get(thread)
    if entry is None or time.monotonic() - entry[1] < get_limit():
        return False
    path = entry[0]
    with _lock:
        if path not in _blocked:
            _blocked[path] = thread
            _in_a_row.append(path)
        if len(_in_a_row) >= MAX_IN_A_ROW:
            n_files = len(_in_a_row)
            _in_a_row.clear()
            raise InputError(
                f"{n_files} files in a row gave no answer in {get_limit():g} s, the last of them "
                f"{ascii(path)[1:-1]}; check the drive that they are on, and run the same command "
                "again, which resumes (ILK_READ_SECONDS sets another limit)"
            )
    return True


def get_read_seconds(thread: int) -> float:
    """Return for how long a thread has been in its present read; 0 if it is in none."""
    entry = _reads.get(thread)
    return 0.0 if entry is None else time.monotonic() - entry[1]


def has_blocked_threads() -> bool:
    """Whether a thread is still in a read that nobody waits for any more."""
    return bool(_reads)
