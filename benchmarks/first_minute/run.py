"""How long does the first minute take: `ilk fit` on 1,000 photos, and `ilk predict` on one?

Each command is a fresh process. `ilk fit` with its defaults, cold (no feature is stored) and warm,
on photos of 300 x 200 pixels in seven classes, beside a plain script that encodes with timm's form
of the same network and a DataLoader, and scores scikit-learn's shrinkage linear discriminant
analysis by cross-validation; the script keeps freed memory as ilk does, or releases it as shipped.
`ilk predict` and `ilk --help` per runtime, once the network is converted; which modules a process
imported is read from its own list.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

from benchmarks.decoders import PACS_CLASSES
from benchmarks.shared_files import decode_image, iterate_archive
from ilk.encoders.engines import ENGINES

SIZE = (300, 200)
N_IMAGES = 1000
PREDICT = (
    "import sys, time; from ilk.cli import run; code = run(sys.argv[1:]);"
    "print('MODULES', *sorted({'torch', 'sklearn', 'scipy'} & set(sys.modules)), file=sys.stderr);"
    "sys.exit(code)"
)


def run(small: bool = False) -> dict[str, Any]:
    """Time the commands."""
    n, repeats = (28, 1) if small else (N_IMAGES, 3)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "photos"
        write_photos(folder, n)
        return {
            "images": n,
            "pixels": list(SIZE),
            "cores": os.cpu_count(),
            "fit": measure_fit(folder, Path(home), repeats),
            "predict": measure_start(folder, Path(home), 1 if small else 7),
        }


def write_photos(folder: Path, n: int) -> None:
    """Write pictures of PACS as JPEG files of one size, in a folder per class."""
    files = (
        (name, content)
        for name, content in iterate_archive("pacs_subset", "pacs_subset.tar.gz")
        if name.endswith((".jpg", ".png"))
    )
    for i, (name, content) in enumerate(sorted(files, key=lambda f: hash_name(f[0]))[:n]):
        label = next(part for part in name.split("/") if part in PACS_CLASSES)
        (folder / label).mkdir(parents=True, exist_ok=True)
        picture = decode_image(content, "RGB").resize(SIZE, Image.Resampling.BICUBIC)
        picture.save(folder / label / f"{i:04}.jpg", quality=90)


def hash_name(name: str) -> str:
    """Return a digest by which files are in an order that mixes classes and styles."""
    import hashlib

    return hashlib.sha256(name.encode()).hexdigest()


def measure_fit(folder: Path, home: Path, repeats: int) -> list[dict[str, Any]]:
    """Time `ilk fit`, cold and warm, and the plain script, in turn."""
    seconds: dict[str, list[float]] = {}
    # The networks are converted before: that happens once per machine.
    environment = {**os.environ, "ILK_STORE": str(home / "fit" / "store.sqlite")}
    model, first = home / "model", next(folder.rglob("*.jpg"))
    fit = [sys.executable, "-m", "ilk", "fit", str(folder), "--out", str(model)]
    _time([*fit], environment, "first run, which converts the network", seconds)
    _time([sys.executable, "-m", "ilk", "predict", str(model), str(first)], environment)
    script = [sys.executable, "-m", "benchmarks.first_minute.plain_script", str(folder)]
    tuned = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "2147483647"}
    tuned |= {"MALLOC_TRIM_THRESHOLD_": "2147483647", "MALLOC_ARENA_MAX": "1"}
    for _ in range(repeats):
        for suffix in ("", "-wal", "-shm"):
            (home / "fit" / f"store.sqlite{suffix}").unlink(missing_ok=True)
        _time(fit, environment, "ilk fit, cold", seconds)
        _time(fit, environment, "ilk fit, warm", seconds)
        _time(script, tuned, "plain script, memory kept", seconds)
        _time(script, dict(os.environ), "plain script", seconds)
    plain = median(seconds["plain script, memory kept"])
    return [
        {
            "command": name,
            "seconds": round(median(times), 2),
            "ratio_to_plain_script": round(median(times) / plain, 2),
            "all_seconds": [round(t, 2) for t in times],
        }
        for name, times in seconds.items()
    ]


def measure_start(folder: Path, home: Path, repeats: int) -> list[dict[str, Any]]:
    """Time fresh processes that predict one photo, per runtime, and the help page, in turn."""
    import shutil

    photos = list(islice(sorted(folder.rglob("*.jpg")), 200))
    environment = {**os.environ, "ILK_STORE": str(home / "start" / "store.sqlite")}
    subset = home / "subset"
    for photo in photos:
        target = subset / photo.parent.name / photo.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, target)
    model = home / "start-model"
    options = ["--encoder", "efficientnet-lite0", "--method", "GDA"]
    fit = [sys.executable, "-m", "ilk", "fit", str(folder), "--out", str(model), *options]
    _time(fit, environment)
    names = ["torch"] + [e.name for e in ENGINES if find_spec(e.packages[0])]
    seconds: dict[str, list[float]] = {}
    modules: dict[str, str] = {}
    for i in range(repeats + 1):
        for name in names:
            for suffix in ("", "-wal", "-shm"):  # the photo is encoded every time
                (home / "start" / f"store.sqlite{suffix}").unlink(missing_ok=True)
            command = [sys.executable, "-c", PREDICT, "predict", str(model), str(photos[0])]
            done = _time(
                [*command, "--runtime", name], environment, f"predict, {name}", seconds if i else {}
            )
            modules[f"predict, {name}"] = done.stderr.split("MODULES")[1].strip()
        _time([sys.executable, "-m", "ilk", "--help"], environment, "help", seconds if i else {})
    return [
        {
            "command": name,
            "seconds": round(median(times), 3),
            "fastest": round(min(times), 3),
            "heavy_modules": modules.get(name, ""),
        }
        for name, times in seconds.items()
    ]


def _time(
    command: list[str],
    environment: dict[str, str],
    name: str = "",
    seconds: dict[str, list[float]] | None = None,
) -> subprocess.CompletedProcess[str]:
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-500:]}")
    if seconds is not None:
        seconds.setdefault(name, []).append(time.perf_counter() - start)
    return done


if __name__ == "__main__":
    print(json.dumps(run("--small" in sys.argv), indent=1))
