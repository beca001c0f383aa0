"""Progress reporting: a bar with an ETA on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TextIO

from ilk.core.terminal_text import escape_line, get_unfiltered

Advance = Callable[[int], None]
Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""`with progress("encoding", total) as advance: … advance(done_since_last)`."""


def silent_progress(_what: str, _total: int) -> AbstractContextManager[Advance]:
    """Report nothing: the default of library calls."""
    return nullcontext(lambda _n: None)


def terminal_progress(stream: TextIO | None = None, interval: float = 10.0) -> Progress:
    """Return a bar if `stream` is a terminal, else a line every `interval` seconds.

    Args:
        stream: Where to write; None is standard error.
        interval: Seconds between lines.
    """
    out = stream or sys.stderr
    if out is None:  # a process without standard error
        return silent_progress
    return _make_bar(out) if out.isatty() else _make_lines(out, interval)


def _make_bar(out: TextIO) -> Progress:
    @contextmanager
    def progress(what: str, total: int) -> Iterator[Advance]:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        console = Console(file=get_unfiltered(out))
        with Bar(*columns, TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task(escape(escape_line(what)), total=total)
            yield lambda n: bar.advance(task, n)

    return progress


def _make_lines(out: TextIO, interval: float) -> Progress:
    @contextmanager
    def progress(what: str, total: int) -> Iterator[Advance]:
        started_at = printed_at = time.monotonic()
        done = 0

        def advance(n: int) -> None:
            nonlocal done, printed_at
            done += n
            now = time.monotonic()
            if now - printed_at >= interval:
                printed_at = now
                remaining = (now - started_at) * (total - done) / max(done, 1)
                print(
                    f"{what}: {done} of {total}, about {remaining:.0f} s left", file=out, flush=True
                )

        yield advance
        elapsed = time.monotonic() - started_at
        if elapsed >= interval:
            print(f"{what}: {done} of {total} in {elapsed:.0f} s", file=out, flush=True)

    return progress
