"""`ilk select` as a user types it: a folder of photographs, unbalanced, some there twice."""

from __future__ import annotations

import csv
import io
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.select.features import measure
from benchmarks.shared_files import decode_image, iterate_archive
from ilk.core.data import Data
from ilk.deduplication.copies import COPIES, make_copy
from ilk.encode import encode_and_refuse
from ilk.encoders import choose_encoders
from ilk.images import Images, read_images
from ilk.store import Store
from ilk.subset_selection.choose_rows import choose_rows

CLASSES = ("automobile", "bird", "cat", "dog", "ship", "truck")
RARE = CLASSES[:3]
N_COMMON, N_RARE, N_COPIES, N_TEST, N_PICTURES = 120, 25, 10, 150, 600
KINDS = (*tuple(COPIES)[:2], "mirrored")  # recompressed, resized, mirrored
KEEP = 0.2
AUTO, ALL = "ilk select --balance", "all files"
RANDOM, BALANCED = "random files", "random files, balanced"


def run_seed(seed: int, small: bool) -> dict[str, Any]:
    """Return accuracies by what was kept, and what became of the copies that were planted."""
    rng = np.random.default_rng(seed)
    with TemporaryDirectory() as home:
        source, kept, test = (Path(home, name) for name in ("photos", "kept", "test"))
        planted = _write_folders(source, test, rng, small)
        _run_command(["select", str(source), "--keep", str(KEEP), "--balance", "--out", str(kept)])
        with (kept / "selection.csv").open() as file:
            lines = list(csv.DictReader(file))
        data, chosen, answers = (_encode(folder) for folder in (source, kept, test))
        index = np.concatenate(
            [rng.permutation(np.flatnonzero(data.y >= 0))[: len(chosen)] for _ in range(5)]
        ).reshape(5, -1)
        accuracy = {
            ALL: measure(data, answers),
            AUTO: measure(chosen, answers),
            RANDOM: float(np.mean([measure(data.take(rows), answers) for rows in index])),
            BALANCED: float(
                np.mean([measure(data.take(rows), answers) for rows in _draw(data, chosen, rng)])
            ),
        }
    reasons = {line["path"]: line["reason"] for line in lines}
    dropped = {path for path, reason in reasons.items() if reason.startswith("copy")}
    pairs = [(a in dropped) or (b in dropped) for a, b in planted]
    involved = {path for pair in planted for path in pair}
    return {
        "accuracy": accuracy,
        "copies found": float(np.mean(pairs)),
        "pictures left out wrongly": len(dropped - involved) / len(reasons),
        "largest class kept": int(np.bincount(chosen.y).max()),
        "smallest class kept": int(np.bincount(chosen.y, minlength=len(CLASSES)).min()),
    }


def _draw(data: Data, chosen: Data, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Return five random selections of as many rows, balanced."""
    return [choose_rows(rng.random(len(data)), data.y, len(chosen), "balanced") for _ in range(5)]


def _write_folders(
    source: Path, test: Path, rng: np.random.Generator, small: bool
) -> list[tuple[str, str]]:
    """Write training and test images; return the pairs of files that show one picture."""
    planted = []
    for name in CLASSES[:: 3 if small else 1]:
        files = _read_files()[name]
        order = rng.permutation(len(files))
        n = N_RARE if name in RARE else N_COMMON
        n, n_test = (n // 5, 10) if small else (n, N_TEST)
        for folder, rows in ((source, order[:n]), (test, order[n : n + n_test])):
            (folder / name).mkdir(parents=True)
            for i in rows:
                (folder / name / f"{i:04d}.jpg").write_bytes(files[i])
        for number, i in enumerate(order[: 2 if small else N_COPIES]):
            image = make_copy(KINDS[number % len(KINDS)], decode_image(files[i], "RGB"), rng)
            image.save(source / name / f"again-{i:04d}.png")
            planted.append((f"{name}/{i:04d}.jpg", f"{name}/again-{i:04d}.png"))
    return planted


@cache
def _read_files() -> dict[str, list[bytes]]:
    """Return the first `N_PICTURES` test images of each class, as files."""
    files: dict[str, list[bytes]] = {name: [] for name in CLASSES}
    for path, raw in iterate_archive("cifar10_jpeg", "cifar10_jpeg.tar.gz"):
        name = path.split("/")[-2] if "test/" in path else ""
        if name in files and path.endswith(".jpg") and len(files[name]) < N_PICTURES:
            files[name].append(raw)
    return files


def _run_command(arguments: list[str]) -> None:
    from ilk.cli import run

    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        code = run(arguments)
    if code:
        raise RuntimeError(f"ilk {' '.join(arguments)} ended with {code}: {out.getvalue()}")


def _encode(folder: Path) -> Data:
    """Return the features of the images of a folder by the default encoder, and their labels."""
    store = Store()
    images: Images = read_images(str(folder), store=store)
    encoder = choose_encoders(images)[0][-1]
    images = encode_and_refuse(images, [encoder], store)
    x = store.get(encoder.space, [row.digest for row in images.used])
    y = np.array([CLASSES.index(str(row.label)) for row in images.used])
    return Data(x, y, CLASSES)
