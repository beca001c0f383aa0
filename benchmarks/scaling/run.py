"""Is encoding linear up to 8 nodes? A model of reading, decoding, network and writing, measured.

JPEG files of 300 x 200 pixels are encoded by the embedded network, in one thread, on this machine:
seconds per image by kind of work, the time of each shard, bytes read and written, and reading with
a cold page cache. The model (`model.py`) adds list scheduling, start-up and a shared disk, for a
million images. What can be checked here is checked: two jobs on a core each against one job on one
core. The rest is on paper; the assumptions are part of the result.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from shutil import copytree
from statistics import fmean, stdev
from typing import Any

from benchmarks.encode.run import write_images
from benchmarks.runner import summarize
from benchmarks.scaling.model import ASSUMPTIONS, Work, find_breaks, make_table
from ilk.encoders import resolve_encoder
from ilk.images import read_images
from ilk.shards.encode import encode_shards
from ilk.shards.manifest import Manifest

ENCODER = "efficientnet-lite0"
NODES, CORES, SHARD_SIZES = (1, 2, 4, 8), (2, 16), (500, 5000)
BANDWIDTHS = (100e6, 1e9, 10e9)  # gigabit Ethernet, a good file server, a parallel one
MIN_EFFICIENCY = 0.9
N_REPEATS = 5


def run(small: bool = False) -> dict[str, Any]:
    """Measure the parts, and say what they mean for 1 to 8 nodes."""
    n, shard_size, repeats = (12, 3, 1) if small else (400, 40, N_REPEATS)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        write_images(home / "photos", n)
        Manifest.write(home / "list", read_images(home / "photos"), shard_size=shard_size)
        parts = measure_parts(home / "photos", home / "list", n)
        check = [measure_two_jobs(home, i) for i in range(repeats)]
    work = Work(
        parts["cpu_seconds_per_image"],
        parts["spread_of_shards"],
        parts["bytes_read_per_image"] + parts["bytes_written_per_image"],
        fmean(job["startup_seconds"] for job in check),
    )
    table = make_table(work, NODES, CORES, SHARD_SIZES, BANDWIDTHS)
    at_8 = [row for row in table if row["nodes"] == max(NODES)]
    return {
        "encoder": ENCODER,
        "measured": parts,
        "two_jobs": {
            "speed_up": summarize([job["speed_up"] for job in check]),
            "each": check,
            "cpu_cost": summarize([job["cpu_cost"] for job in check]),
            "note": "speed-up by wall time: 2 is linear, and less where other programs use the "
            "cores; CPU cost per image beside another job against alone: 1 if cores do not slow "
            "each other down",
        },
        "startup_seconds": work.startup,
        "assumptions": ASSUMPTIONS,
        "table": table,
        "linear_at_8_nodes": [row for row in at_8 if row["efficiency"] >= MIN_EFFICIENCY],
        "not_linear_at_8_nodes": [row for row in at_8 if row["efficiency"] < MIN_EFFICIENCY],
        "disk_is_the_limit_from": [b for c in CORES for b in find_breaks(work, c, BANDWIDTHS)],
    }


def measure_parts(photos: Path, folder: Path, n: int) -> dict[str, Any]:
    """Encode in one thread and return what an image costs, by kind of work."""
    encoder = resolve_encoder(ENCODER)
    encoder.load()
    busy: Counter[str] = Counter()
    shards: list[float] = []
    began, cpu_began = time.perf_counter(), time.process_time()
    at = time.process_time()
    numbers = range(Manifest.read(folder).n_shards)
    n_written = 0
    for part in encode_shards(folder, numbers, encoder, n_threads=1):
        busy.update(part.seconds)
        shards.append((time.process_time() - at) / part.n)
        at = time.process_time()
        n_written += part.path.stat().st_size
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    usual = shards[1:-1] or shards  # the first one warms up
    return {
        "images": n,
        "wall_seconds_per_image": wall / n,
        "cpu_seconds_per_image": cpu / n,
        "seconds_per_image": {kind: seconds / n for kind, seconds in busy.items()},
        "share": {kind: seconds / sum(busy.values()) for kind, seconds in busy.items()},
        "spread_of_shards": stdev(usual) / fmean(usual) if len(usual) > 1 else 0.0,
        "bytes_read_per_image": sum(p.stat().st_size for p in photos.iterdir()) / n,
        "bytes_written_per_image": n_written / n,
        "cold_reading": measure_cold_reading(photos),
    }


def measure_cold_reading(photos: Path) -> dict[str, float]:
    """Read all files after the system was told to forget them."""
    paths = sorted(photos.iterdir())
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    began = time.perf_counter()
    n_bytes = sum(len(path.read_bytes()) for path in paths)
    seconds = time.perf_counter() - began
    return {
        "seconds_per_image": seconds / len(paths),
        "megabytes_per_second": n_bytes / seconds / 1e6,
    }


def measure_two_jobs(home: Path, repeat: int) -> dict[str, float]:
    """Return how much faster two jobs on a core each are than one job on one core."""
    one, two = home / f"one-{repeat}", home / f"two-{repeat}"
    for folder in (one, two):
        copytree(home / "list", folder, ignore=lambda *_: ["features"])
    jobs = [(one, "1/1"), (two, "1/2"), (two, "2/2")]
    cores = sorted(os.sched_getaffinity(0))
    alone = wait(start(*jobs[0], cores[0]))
    pair = [start(*job, cores[i % len(cores)]) for i, job in enumerate(jobs[1:])]
    together = [wait(process) for process in pair]
    n = Manifest.read(one).n_rows
    idle = fmean(wait(start(two, job, cores[0]))["cpu_seconds"] for job in ("1/2", "2/2"))
    cpu_together = sum(job["cpu_seconds"] - idle for job in together) / n
    cpu_alone = (alone["cpu_seconds"] - idle) / n  # `idle`: a job that finds all parts done
    return {
        "one_job": alone["images_per_second"],
        "two_jobs": sum(job["images_per_second"] for job in together),
        "speed_up": sum(job["images_per_second"] for job in together) / alone["images_per_second"],
        "cpu_cost": cpu_together / cpu_alone,
        "cpu_seconds_per_image": cpu_alone,
        "startup_seconds": alone["startup_seconds"],
    }


def start(folder: Path, job: str, core: int) -> tuple[subprocess.Popen[str], float]:
    """Start one job of a job array on one core."""
    words = ["encode", str(folder), "--encoder", ENCODER, "--shard", job, "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ilk", *words],
        preexec_fn=lambda: os.sched_setaffinity(0, [core]),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return process, time.monotonic()


def wait(started: tuple[subprocess.Popen[str], float]) -> dict[str, float]:
    """Return what a job says of itself at its end."""
    process, began = started
    assert process.stdout is not None, "a pipe"
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    if process.returncode:
        raise RuntimeError(f"a job ended with {process.returncode}: {output[-300:]}")
    figures = json.loads(output)["encoders"][0]
    return {
        "images_per_second": float(figures["images_per_second"]),
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "startup_seconds": seconds - float(figures["seconds"]),
    }
