"""Long work, told: a bar with an ETA on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TextIO

Advance = Callable[[int], None]
Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""`with progress("encoding", total) as advance: … advance(done_since_last)`."""


def silent(_what: str, _total: int) -> AbstractContextManager[Advance]:
    """Says nothing; what library calls use unless told otherwise."""
    return nullcontext(lambda _n: None)


def told(stream: TextIO | None = None, every: float = 10.0) -> Progress:
    """A bar where `stream` (standard error) is a terminal, else a line each `every` seconds."""
    out = stream or sys.stderr
    return _bar(out) if out.isatty() else _lines(out, every)


def _bar(out: TextIO) -> Progress:
    @contextmanager
    def progress(what: str, total: int) -> Iterator[Advance]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Bar(*columns, TimeRemainingColumn(), console=Console(file=out)) as bar:
            task = bar.add_task(what, total=total)
            yield lambda n: bar.advance(task, n)

    return progress


def _lines(out: TextIO, every: float) -> Progress:
    @contextmanager
    def progress(what: str, total: int) -> Iterator[Advance]:
        began = told_at = time.monotonic()
        done = 0

        def advance(n: int) -> None:
            nonlocal done, told_at
            done += n
            now = time.monotonic()
            if now - told_at >= every:
                told_at = now
                left = (now - began) * (total - done) / max(done, 1)
                print(f"{what}: {done} of {total}, about {left:.0f} s left", file=out, flush=True)

        yield advance
        spent = time.monotonic() - began
        if spent >= every:
            print(f"{what}: {done} of {total} in {spent:.0f} s", file=out, flush=True)

    return progress
