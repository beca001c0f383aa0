"""Standard output and standard error that never raise: a reader may leave, a disk may be full.

`ilk fit … | head -1` still saves the model, and no half-written traceback follows when the
interpreter ends. What could not be written is remembered, for the exit code.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, TypeVar

from ilk.core.terminal_text import get_unfiltered

T = TypeVar("T")
NO_READER = {errno.EPIPE, errno.ECONNRESET} | ({errno.EINVAL} if os.name == "nt" else set())


class GuardedFile(io.RawIOBase):
    """A file descriptor to write to; what cannot be written is dropped and remembered.

    Attributes:
        has_reader: False once the reader of a pipe has left.
        error: The first error of another kind, such as a full disk.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.has_reader = True
        self.error: OSError | None = None

    @property
    def is_lost(self) -> bool:
        """Whether what is written goes nowhere."""
        return not self.has_reader or self.error is not None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        """Write bytes and return how many were written or dropped: all, or as many as fit."""
        size = len(memoryview(data).cast("B"))
        while not self.is_lost:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # a pipe that another program made non-blocking
                select.select([], [self._descriptor], [])
            except OSError as error:
                if error.errno in NO_READER:
                    self.has_reader = False
                else:
                    self.error = error
        return size


def guard(name: str) -> GuardedFile | None:
    """Replace `sys.stdout` or `sys.stderr` by a stream on a `GuardedFile`, and return that file.

    A stream that was closed when the process started becomes one that drops everything, so that no
    file that is opened later gets its descriptor. A stream that is not the process's own, such as
    that of a test, stays as it is.

    Args:
        name: "stdout" or "stderr".
    """
    descriptor = {"stdout": 1, "stderr": 2}[name]
    stream: TextIO | None = getattr(sys, name)
    if stream is None:
        _open_null(descriptor)
    elif stream is not getattr(sys, f"__{name}__"):
        return None
    else:
        descriptor = stream.fileno()
    file = GuardedFile(descriptor)
    text = io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=getattr(stream, "line_buffering", False),
        write_through=getattr(stream, "write_through", False),
    )
    setattr(sys, name, text)
    return file


def _open_null(descriptor: int) -> None:
    """Let a closed descriptor write to nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    if null != descriptor:
        os.dup2(null, descriptor)
        os.close(null)


def describe_loss(file: GuardedFile | None) -> str:
    """Return why standard output is incomplete, as a sentence; "" if nothing is missing.

    A reader that has left, as `head` does, misses nothing that it wanted.
    """
    if file is None or file.error is None:
        return ""
    return (
        f"cannot write to standard output: {file.error.strerror or file.error}; what was printed "
        "is incomplete; free some space or choose another file"
    )


def until_lost(items: Iterable[T]) -> Iterator[T]:
    """Yield `items` as long as standard output can be written: for rows that only go there."""
    raw = getattr(getattr(get_unfiltered(sys.stdout), "buffer", None), "raw", None)
    for item in items:
        yield item
        if isinstance(raw, GuardedFile) and raw.is_lost:
            return
