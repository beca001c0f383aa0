"""A command in a process of its own: its time, and what it showed meanwhile."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

ETA = re.compile(r"^(.+): [\d,]+ of [\d,]+, about \d+ s left$")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # a user has none of these


@dataclass(frozen=True)
class Timed:
    """A command that has ended.

    Attributes:
        seconds: On the clock.
        processor_seconds: Of all processors, of the command and the processes that it waited for.
        steps_with_eta: Steps that told how long they would still take, in order.
        longest_silence: Longest time without a line on standard error, in seconds.
        report: Its JSON; empty if it refused.
        refusal: The sentence by which it refused; else empty.
    """

    seconds: float
    processor_seconds: float
    steps_with_eta: tuple[str, ...]
    longest_silence: float
    report: dict[str, Any]
    refusal: str


def time_command(words: Sequence[str], store: Path) -> Timed:
    """Run `ilk` with a store, with as many threads as it takes by itself.

    Raises:
        RuntimeError: It ended neither with an answer nor with a sentence.
    """
    environment = {k: v for k, v in os.environ.items() if k not in THREADS}
    environment["ILK_STORE"] = str(store)
    before, started_at = _read_processor_seconds(), time.perf_counter()
    lines, times = [], [started_at]
    command = [sys.executable, "-m", "ilk", *words]
    with (
        TemporaryFile("w+") as out,
        subprocess.Popen(
            command, env=environment, stdout=out, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stderr is not None, "a pipe"
        for line in process.stderr:
            lines.append(line.rstrip("\n"))
            times.append(time.perf_counter())
        code = process.wait()
        times.append(time.perf_counter())
        out.seek(0)
        answer = out.read()
    processor_seconds = _read_processor_seconds() - before
    said = lines[-1] if lines else ""
    if code and not said.startswith("ilk: "):
        raise RuntimeError(f"ilk {words[0]} ended with {code}: " + "\n".join(lines[-20:]))
    return Timed(
        times[-1] - started_at,
        processor_seconds,
        tuple(dict.fromkeys(m[1] for line in lines if (m := ETA.match(line)))),
        max(b - a for a, b in pairwise(times)),
        {} if code else json.loads(answer),
        said.removeprefix("ilk: ") if code else "",
    )


def _read_processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
