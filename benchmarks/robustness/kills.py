"""Kill commands at random moments and repeat them: is the result that of a run without a kill?"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.robustness.commands import finish, spawn, start
from benchmarks.robustness.folder_content import (
    describe_difference,
    find_leftovers,
    read_content,
)
from benchmarks.robustness.inputs import write_folder

MAX_TRIES = 5  # a command may end before it is killed
NEAR_WRITE = 0.03  # seconds after the start of the first write, in which half of the kills fall
UNFINISHED = re.compile(r"\.ilk-new|\.part$|\.ilk\.commit")


@dataclass(frozen=True)
class Job:
    """A command to kill.

    Attributes:
        name: What it is called in the table.
        args: Its arguments; `{out}` stands for the result folder.
        before: Folder that the result folder is a copy of at first; None for a missing one.
        share: Its share of the kills.
    """

    name: str
    args: tuple[str, ...]
    before: Path | None = None
    share: float = 1.0


def make_jobs(work: Path) -> tuple[Job, ...]:
    """Write the images and models that the jobs need, and return the jobs."""
    images = write_folder(work / "images", 10)
    again = write_folder(work / "again", 10, first=300)
    unknown = write_folder(work / "unknown", 6, {"grid": "dots"}, first=900)
    pixels = ("--encoder", "pixels/8x8x3")
    fit = ("fit", str(images), *pixels, "--method", "GDA", "--method", "Ridge")
    model, detector = work / "model", work / "detector"
    detect = ("detect", "fit", str(images), *pixels)
    for args, out in ((fit, model), (detect, detector)):
        outcome = spawn(*args, "--out", out)
        if outcome.code:
            raise AssertionError(outcome.err)
    tiny = ("--image-size", "8", "--width", "8", "--updates", "30", "--batch-size", "8")
    return (
        Job("fit", (*fit, "--out", "{out}")),
        Job("fit again", ("fit", str(again), *pixels, "--out", "{out}"), model),
        Job("add", ("add", "{out}", str(unknown), "--force"), model, 1.5),
        Job("adapt", ("adapt", str(model), str(images), "--force", "--out", "{out}")),
        Job(
            "discover", ("discover", str(model), str(unknown), "--all", "--out", "{out}"), None, 1.5
        ),
        Job("detect fit", (*detect, "--out", "{out}")),
        Job("detect fit again", ("detect", "fit", str(again), *pixels, "--out", "{out}"), detector),
        Job("pretrain", ("pretrain", str(images), *tiny, "--folds", "2", "--out", "{out}")),
    )


def measure_kills(work: Path, n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Kill each job several times, `n` times in all, and compare what its repetition leaves.

    Half of the kills fall at a random moment of the run; the other half just after the first file
    of the result begins to be written.
    """
    rng, jobs = np.random.default_rng(seed), make_jobs(work)
    total = sum(job.share for job in jobs)
    ends = np.round(n * np.cumsum([job.share for job in jobs]) / total).astype(int).tolist()
    counts = np.diff([0, *ends]).tolist()
    return [
        _measure_job(job, work / "runs", count, rng)
        for job, count in zip(jobs, counts, strict=True)
        if count
    ]


def _measure_job(job: Job, work: Path, n: int, rng: np.random.Generator) -> dict[str, Any]:
    out = work / "out"
    _prepare(job, work)
    started = time.monotonic()
    whole = finish(_start(job, work))
    seconds = time.monotonic() - started
    if whole.code not in (0, 1):
        raise AssertionError(f"{job.name} fails without a kill: {whole.err}")
    expected = read_content(out)
    failures: list[str] = []
    n_kills = n_unfinished = n_tracebacks = 0
    for i in range(n):
        moment = _kill(job, work, seconds, near_write=i % 2 == 1, rng=rng)
        if moment is None:
            continue
        n_kills += 1
        n_unfinished += bool(describe_difference(read_content(out), expected))
        repeated = finish(_start(job, work))
        n_tracebacks += repeated.has_traceback
        difference = describe_difference(read_content(out), expected)
        if leftovers := find_leftovers(out):
            difference += f"; left over: {', '.join(leftovers[:4])}"
        if difference or repeated.has_traceback:
            failures.append(
                f"killed after {moment:.2f} of {seconds:.2f} s: {difference}; exit code "
                f"{repeated.code}, {repeated.sentence[:160]}"
            )
    return {
        "command": job.name,
        "kills": n_kills,
        "before the result was complete": n_unfinished,
        "equal after repeating": n_kills - len(failures),
        "tracebacks": n_tracebacks,
        "failures": failures[:5],
    }


def _prepare(job: Job, work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    if job.before is not None:
        shutil.copytree(job.before, work / "out")


def _start(job: Job, work: Path) -> subprocess.Popen[str]:
    args = [arg.format(out=work / "out") for arg in job.args]
    return start(*args, env={"ILK_STORE": str(work / "store.sqlite")})


def _kill(
    job: Job, work: Path, seconds: float, *, near_write: bool, rng: np.random.Generator
) -> float | None:
    """Kill a new run with SIGKILL; return when, or None if it always ended before."""
    for attempt in range(MAX_TRIES):
        _prepare(job, work)
        process = _start(job, work)
        began = time.monotonic()
        wait = float(rng.uniform(0.2, 1.0)) * seconds * 0.9**attempt
        if near_write:
            while process.poll() is None and not _is_being_written(work / "out"):
                time.sleep(0.001)
            wait = float(rng.uniform(0, NEAR_WRITE)) * 0.5**attempt
        time.sleep(wait)
        is_running = process.poll() is None
        process.kill()
        process.communicate()
        if is_running:
            return time.monotonic() - began
    return None


def _is_being_written(folder: Path) -> bool:
    """Whether files of an unfinished write lie below a folder."""
    return any(UNFINISHED.search(name) for _, _, names in os.walk(folder) for name in names)
