"""The progress of `ilk encode`: images per second, time left, and what takes the time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from ilk.core.terminal_text import escape_line, get_unfiltered

if TYPE_CHECKING:
    from ilk.shards.throughput import Throughput

LINE_SECONDS = 10.0  # between lines where standard error is not a terminal
BAR_SECONDS = 0.5


@contextmanager
def report_progress(what: str, total: int, stream: TextIO | None = None) -> Iterator[Throughput]:
    """Yield a meter, and report what it counts on standard error until the block ends.

    Args:
        what: What is done, such as "encoding".
        total: Number of images.
        stream: Where to write; None is standard error.
    """
    from ilk.shards.throughput import Throughput

    throughput = Throughput(total)
    out = stream or sys.stderr
    if out is None:
        yield throughput
        return
    report = _report_bar if out.isatty() else _report_lines
    stop = threading.Event()
    thread = threading.Thread(target=report, args=(what, throughput, out, stop), daemon=True)
    thread.start()
    try:
        yield throughput
    finally:
        stop.set()
        thread.join()


def _report_lines(what: str, throughput: Throughput, out: TextIO, stop: threading.Event) -> None:
    while not stop.wait(LINE_SECONDS):
        print(f"{escape_line(what)}: {throughput.describe()}", file=out, flush=True)


def _report_bar(what: str, throughput: Throughput, out: TextIO, stop: threading.Event) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
    with Progress(*columns, console=Console(file=get_unfiltered(out))) as bar:
        task = bar.add_task(escape(escape_line(what)), total=throughput.total, text="")
        while not stop.wait(BAR_SECONDS):
            bar.update(task, completed=throughput.n_done, text=escape(throughput.describe()))
        bar.update(task, completed=throughput.n_done, text=escape(throughput.describe()))
