"""How long does reading 100,000 image files take, and how much memory does it use?"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np

IMAGE_SIZE = 16  # pixels; small, since the cost per file is measured
N_CLASSES = 100
DEFECT_PERIOD = 50  # of 50 files, one each is a copy, truncated, empty and text
ResultT = TypeVar("ResultT")


def run(small: bool = False) -> dict[str, Any]:
    """Return seconds and memory of reading PNG class folders of which 8 % are defective."""
    from ilk.images import read_images
    from ilk.store import Store

    n = 1_000 if small else 100_000
    with TemporaryDirectory() as directory:
        root = Path(directory) / "images"
        _, write_seconds = _time_call(lambda: _write_files(root, n))
        store = Store(Path(directory) / "store.sqlite")
        peak_before = _peak_memory()
        unverified, read_seconds = _time_call(lambda: read_images(root, verify=False))
        verified, verify_seconds = _time_call(lambda: read_images(root, store=store))
        reread, warm_seconds = _time_call(lambda: read_images(root, store=store))
        peak_after = _peak_memory()
        _, save_seconds = _time_call(lambda: verified.save(Path(directory) / "intake.json"))
        json_bytes = (Path(directory) / "intake.json").stat().st_size
        store.close()
    if not (len(unverified.rows) == len(verified.rows) == n and reread == verified):
        raise AssertionError("a file has no row, or two readings differ")
    return {
        "files": n,
        "image_size": IMAGE_SIZE,
        "counts": verified.count_rows()["reasons"] | {"used": len(verified.used)},
        "seconds": {
            "writing the files": round(write_seconds, 2),
            "reading, verify=False": round(read_seconds, 2),
            "reading, verify=True": round(verify_seconds, 2),
            "reading, verify=True, warm store": round(warm_seconds, 2),
            "saving intake.json": round(save_seconds, 2),
        },
        "files per second, verify=True": round(n / verify_seconds),
        "peak memory before, MiB": peak_before,
        "peak memory after, MiB": peak_after,
        "intake.json, MiB": round(json_bytes / 2**20, 1),
    }


def _time_call(call: Callable[[], ResultT]) -> tuple[ResultT, float]:
    start = time.perf_counter()
    return call(), time.perf_counter() - start


def _write_files(root: Path, n: int) -> None:
    """Write `n` files in class folders, seeded by their numbers."""
    for c in range(N_CLASSES):
        (root / f"class {c:03}").mkdir(parents=True)
    for i in range(n):
        (root / f"class {i % N_CLASSES:03}" / f"{i:06}.png").write_bytes(_make_file(i))


def _make_file(i: int) -> bytes:
    match i // N_CLASSES % DEFECT_PERIOD:
        case 1:
            return _encode_png(i - N_CLASSES)  # a copy of another file of its class
        case 2:
            return _encode_png(i)[:-40]
        case 3:
            return b""
        case 4:
            return b"not an image: file %d" % i
        case _:
            return _encode_png(i)


def _encode_png(i: int) -> bytes:
    from PIL import Image

    out = BytesIO()
    pixels = np.random.default_rng(i).integers(0, 256, (IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


def _peak_memory() -> int | None:
    """Return the peak memory of this process in MiB, or None if the system does not report it."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))
