"""What it costs to look at 100,000 image files, and what it leaves in memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np

SIDE = 16  # px: what is measured is the cost of a file, not of its pixels
CLASSES = 100
TROUBLE = 50  # one file in so many is a copy, one is cut short, one is empty, one is text
T = TypeVar("T")


def run(small: bool = False) -> dict[str, Any]:
    """Seconds and memory of `ilk.read` over PNG class folders with 8 % of trouble in them."""
    from ilk.images import read
    from ilk.store import Store

    n = 1_000 if small else 100_000
    with TemporaryDirectory() as place:
        root = Path(place) / "images"
        _, writing = _timed(lambda: _plant(root, n))
        store = Store(Path(place) / "store.sqlite")
        before = _peak()
        seen, looking = _timed(lambda: read(root, verify=False))
        first, verifying = _timed(lambda: read(root, store=store))
        again, warm = _timed(lambda: read(root, store=store))
        after = _peak()
        _, saving = _timed(lambda: first.save(Path(place) / "intake.json"))
        size = (Path(place) / "intake.json").stat().st_size
        store.close()
    if not (len(seen.rows) == len(first.rows) == n and again == first):
        raise AssertionError("a file has no row, or two readings differ")
    return {
        "files": n,
        "side": SIDE,
        "counts": first.counts()["reasons"] | {"used": len(first.used)},
        "seconds": {
            "writing the files": round(writing, 2),
            "reading, verify=False": round(looking, 2),
            "reading, verify=True": round(verifying, 2),
            "reading, verify=True, warm store": round(warm, 2),
            "saving intake.json": round(saving, 2),
        },
        "files a second, verify=True": round(n / verifying),
        "peak memory before, MiB": before,
        "peak memory after, MiB": after,
        "intake.json, MiB": round(size / 2**20, 1),
    }


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    return work(), time.perf_counter() - began


def _plant(root: Path, n: int) -> None:
    """`n` files in class folders, seeded by their numbers."""
    for c in range(CLASSES):
        (root / f"class {c:03}").mkdir(parents=True)
    for i in range(n):
        (root / f"class {i % CLASSES:03}" / f"{i:06}.png").write_bytes(_file(i))


def _file(i: int) -> bytes:
    match i // CLASSES % TROUBLE:
        case 1:
            return _png(i - CLASSES)  # a copy of another file of its class
        case 2:
            return _png(i)[:-40]
        case 3:
            return b""
        case 4:
            return b"not an image: file %d" % i
        case _:
            return _png(i)


def _png(i: int) -> bytes:
    from PIL import Image

    out = BytesIO()
    pixels = np.random.default_rng(i).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


def _peak() -> int | None:
    """Most memory that this process has held so far, MiB; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))
