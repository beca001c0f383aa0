"""Run `ilk` commands in this process or in a new one, and note how they ended."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

INTERNAL_ERROR = 70  # exit code given to a command that ended in an exception
MAX_SECONDS = 180.0  # for one command


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        code: Its exit code; negative if a signal ended it.
        out: What it wrote to standard output.
        err: What it wrote to standard error.
    """

    code: int
    out: str
    err: str

    @property
    def has_traceback(self) -> bool:
        """Whether the user would have seen a traceback."""
        return "Traceback (most recent call last)" in self.err + self.out

    @property
    def sentence(self) -> str:
        """What was said: the last line of standard error, or of standard output."""
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        return lines[-1] if lines else ""


def call(*args: str | os.PathLike[str]) -> Outcome:
    """Run `ilk` with `args` in this process."""
    from ilk.cli import run

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = run([os.fspath(arg) for arg in args])
        except Exception:
            code = INTERNAL_ERROR
            err.write(traceback.format_exc())
    return Outcome(code, out.getvalue(), err.getvalue())


def call_on_terminal(*args: str | os.PathLike[str]) -> Outcome:
    """Run `ilk` with `args` in this process, with standard output that says it is a terminal."""
    from ilk.cli import run
    from ilk.core.terminal_text import filter_streams

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out, err = Terminal(), io.StringIO()
    shown, errors = filter_streams(out, err)
    with redirect_stdout(shown), redirect_stderr(errors):
        code = run([os.fspath(arg) for arg in args])
    return Outcome(code, out.getvalue(), err.getvalue())


def start(
    *args: str | os.PathLike[str],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int | None = subprocess.DEVNULL,
) -> subprocess.Popen[str]:
    """Start `ilk` with `args` in a new process."""
    return subprocess.Popen(
        [sys.executable, "-m", "ilk", *(os.fspath(arg) for arg in args)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        cwd=cwd,
    )


def finish(process: subprocess.Popen[str]) -> Outcome:
    """Wait for a process that `start` returned."""
    out, err = process.communicate(timeout=MAX_SECONDS)
    return Outcome(process.returncode, out, err)


def spawn(
    *args: str | os.PathLike[str],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Outcome:
    """Run `ilk` with `args` in a new process and wait for it."""
    return finish(start(*args, env=env, cwd=cwd))


def count_codes(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Return how many commands ended with each exit code."""
    codes = [str(outcome.code) for outcome in outcomes]
    return {code: codes.count(code) for code in sorted(set(codes))}
