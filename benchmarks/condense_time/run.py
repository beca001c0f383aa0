"""How long does `ilk condense` take on 5,000 colour images of 32 x 32 pixels, and what is lost?

The command runs as a user types it, with its defaults, on 500 images of each class of CIFAR-10 (as
JPEG): 10 images per class, with a feature store that is empty. The accuracies are those that it
prints itself, on images that it holds out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.shared_files import iterate_archive

PER_CLASS_IN, PER_CLASS_OUT = 500, 10
LIMIT_SECONDS = 600


def run(small: bool = False) -> dict[str, Any]:
    """Return the seconds of the command and what it says."""
    with TemporaryDirectory() as home:
        source, out = Path(home) / "photos", Path(home) / "few"
        n_images = write_images(source, 12 if small else PER_CLASS_IN)
        options = ["--encoder", "pixels/8x8x3", "--updates", "3"] if small else []
        if small:
            options += ["--method", "DistributionMatching(updates=2)"]
        started_at = time.perf_counter()
        report = condense(source, out, PER_CLASS_OUT if not small else 2, options)
        seconds = time.perf_counter() - started_at
        written = len(list(out.glob("*/*.*")))
    return {
        "images": n_images,
        "written": written,
        "seconds": round(seconds, 1),
        "limit_seconds": LIMIT_SECONDS,
        "within_limit": seconds <= LIMIT_SECONDS,
        "cores": os.cpu_count(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        "report": {key: report[key] for key in ("method", "choice", "lost", "judged_images")},
    }


def write_images(folder: Path, per_class: int) -> int:
    """Write the first training images of each class, as they are; return their number."""
    counts: dict[str, int] = {}
    for name, raw in iterate_archive("cifar10_jpeg", "cifar10_jpeg.tar.gz"):
        label = name.split("/")[-2]
        if not name.endswith(".jpg") or "train/" not in name or counts.get(label, 0) >= per_class:
            continue
        counts[label] = counts.get(label, 0) + 1
        path = folder / label / f"{counts[label]:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    return sum(counts.values())


def condense(source: Path, out: Path, per_class: int, options: list[str]) -> dict[str, Any]:
    """Return the JSON of the command, which runs in a process of its own with an empty store."""
    words = [sys.executable, "-m", "ilk", "condense", str(source), "--out", str(out), "--json"]
    done = subprocess.run(
        [*words, "--per-class", str(per_class), *options],
        env={**os.environ, "ILK_STORE": str(out.parent / "store.sqlite")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"ilk condense ended with {done.returncode}: {done.stderr[-2000:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report
