"""Does each command that makes models small, cheap or tuned answer on 5,000 images in ten minutes?

`ilk finetune`, `distill`, `compress`, `condense` and `select` run one after another as a user types
them, with their defaults, on 500 images of each class of CIFAR-10 (JPEG files of 32 x 32 pixels).
`finetune`, `condense` and `select` start with an empty feature store. The teacher of `distill` and
the model of `compress` is what `ilk fit` with its defaults makes of the same images, with the store
that it left; it is timed too, and the limit does not apply to it. The student is `cnn-15k`, and
`select` keeps three tenths of the images. `compress` also runs on a model that was fitted with one
method: an ensemble it may refuse, and a refusal, however fast, does not count as an answer.

The limit of 600 seconds is compared with the time on the clock, on a machine that does other work
too. Beside it stand the processor seconds of the command and of its processes, divided by the
number of cores: the time that they would take if they used all cores evenly, and had them alone.
`with_eta` is whether a line of progress told the time that was left, and `longest_silence` the
longest time in seconds without a line. Accuracies and gains are those that the command itself
reports.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ilk
from benchmarks.command_times.answers import ANSWERS
from benchmarks.command_times.clock import time_command
from benchmarks.diffusion_setup import get_cache_dir, load_or_compute
from benchmarks.shared_files import iterate_archive

PER_CLASS = 500
LIMIT_SECONDS = 600
FIT, FIT_ONE, COMPRESS_ONE = "fit", "fit, one method", "compress, one method"
FITTED = {FIT: FIT, "distill": FIT, "compress": FIT, FIT_ONE: FIT_ONE, COMPRESS_ONE: FIT_ONE}
WORDS = {
    FIT: ["{photos}", "--out", "{out}"],
    FIT_ONE: ["{photos}", "--method", "LogisticRegression()", "--out", "{out}"],
    "finetune": ["{photos}", "--out", "{out}"],
    "distill": ["{model}", "{photos}", "--student", "cnn-15k", "--out", "{out}"],
    "compress": ["{model}", "--out", "{out}"],
    COMPRESS_ONE: ["{model}", "--out", "{out}"],
    "condense": ["{photos}", "--out", "{out}"],
    "select": ["{photos}", "--keep", "0.3", "--out", "{out}"],
}
FITS = (FIT, FIT_ONE)
SMALL = {  # the commands of a small run, with options by which they take seconds
    "select": ["--encoder", "pixels/8x8x3", "--method", "Herding", "--keep-copies"],
}


def run(small: bool = False) -> dict[str, Any]:
    """Run the commands; those that ran before with the same code are not run again."""
    per_class, options = (20, SMALL) if small else (PER_CLASS, {})
    home = get_cache_dir() / "command_times" / f"{per_class}-{digest_code()[:12]}"
    photos = home / "photos"
    if not photos.exists():
        unfinished = home / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        write_images(unfinished, per_class)
        unfinished.rename(photos)
    rows = []
    for name in options or WORDS:
        key = f"command_times/{home.name}/{name}"
        row = load_or_compute(key, partial(run_command, name, home, options.get(name, [])))
        rows.append({"command": name, **row})
    return {
        "images": len(list(photos.glob("*/*.jpg"))),
        "cores": os.cpu_count(),
        "limit_seconds": LIMIT_SECONDS,
        "all_within_limit": find_all_within_limit(rows),
        "commands": [{k: v for k, v in row.items() if k != "answer"} for row in rows],
        "answers": {row["command"]: row["answer"] for row in rows},
    }


def find_all_within_limit(rows: list[dict[str, Any]]) -> bool:
    """Return whether every command but `ilk fit` answered in time; a refusal is no answer."""
    answered = {
        row["command"].partition(",")[0]: False for row in rows if row["command"] not in FITS
    }
    for row in rows:
        name = row["command"].partition(",")[0]
        if name in answered and row["answered"] and row["within_limit"]:
            answered[name] = True
    return all(answered.values())


def run_command(name: str, home: Path, options: list[str]) -> dict[str, Any]:
    """Return what a command cost and said; a fit leaves its model and store in `home`."""
    command = name.partition(",")[0]
    fitted = home / FITTED.get(name, "none").replace(", ", "-").replace(" ", "-")
    with TemporaryDirectory() as folder:
        place = fitted if name in FITS else Path(folder)
        store, out = place / "store", place / ("model" if name in FITS else "out")
        if name in FITS:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
        elif name in FITTED:
            shutil.copytree(fitted / "store", store)
        paths = {"photos": home / "photos", "model": fitted / "model", "out": out}
        words = [word.format_map(paths) for word in WORDS[name]]
        timed = time_command([command, *words, *options, "--json"], store / "store.sqlite")
        shown = [f"{paths[w[1:-1]].name}/" if w[0] == "{" else w for w in WORDS[name]]
        cores = os.cpu_count() or 1
        return {
            "typed": " ".join(["ilk", command, *shown, *options]),
            "seconds": round(timed.seconds, 1),
            "processor_seconds": round(timed.processor_seconds, 1),
            "processor_seconds_per_core": round(timed.processor_seconds / cores, 1),
            "answered": not timed.refusal,
            "within_limit": timed.seconds <= LIMIT_SECONDS,
            "with_eta": bool(timed.steps_with_eta),
            "steps_with_eta": ", ".join(timed.steps_with_eta),
            "longest_silence": round(timed.longest_silence, 1),
            "answer": timed.refusal or ANSWERS[command](timed.report),
        }


def write_images(folder: Path, per_class: int) -> None:
    """Write the first training images of each class, as they are."""
    counts: dict[str, int] = {}
    for name, raw in iterate_archive("cifar10_jpeg", "cifar10_jpeg.tar.gz"):
        label = name.split("/")[-2]
        if not name.endswith(".jpg") or "train/" not in name or counts.get(label, 0) >= per_class:
            continue
        counts[label] = counts.get(label, 0) + 1
        path = folder / label / f"{counts[label]:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)


def digest_code() -> str:
    """Return the digest of all modules of ilk: times of other code are not those of this one."""
    root = Path(ilk.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
