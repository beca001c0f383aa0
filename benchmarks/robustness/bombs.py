"""Small files of many pixels: the peak memory of whole commands, with few and with many threads.

The bound follows from `ilk.images.decoding.memory`: threads share a budget of pixels, and an image
beyond it, of up to `MAX_PIXELS`, is decoded alone. The most expensive decoding is that of a float
TIFF of one strip, which holds for each pixel the strip (4 bytes), Pillow's image (4), its bytes
twice (8, to make an array of them) and the result (4). A run without bombs takes what is measured
beside it, and 256 MiB are allowed for strips, contents of files and fragments.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.robustness.hostile_files import make_png
from benchmarks.robustness.inputs import write_folder
from ilk.images.decoding.formats import MAX_PIXELS, MAX_SIDE
from ilk.images.decoding.memory import MAX_PIXELS_IN_FLIGHT

BYTES_PER_PIXEL = 20
SLACK_MIB = 256
THREADS = (2, 8)
MISSING_KIB = 2**30  # where the command did not end by itself

# The peak of a child that the system reports includes that of its parent before the child began.
RUN = """
import os, sys
n = int(sys.argv[1])
os.cpu_count = lambda: n
os.sched_getaffinity = lambda _pid=0: set(range(n))
from ilk.cli import run
code = run(sys.argv[3:])
with open("/proc/self/status") as status, open(sys.argv[2], "w") as out:
    out.write(next(line.split()[1] for line in status if line.startswith("VmHWM")))
sys.exit(code)
"""


def measure_bombs(work: Path, small: bool) -> dict[str, Any]:
    """Return the peak memory of `check` and `fit` on bombs, and the bound that it must keep."""
    pixels = MAX_PIXELS // 8 if small else MAX_PIXELS
    bombs = work / "bombs"
    write_bombs(bombs, pixels, 2 if small else 4)
    # Beside the bombs: a command needs some images that it can use.
    write_folder(bombs, 4, {"a": "ring", "b": "dots"})
    plain = write_folder(work / "plain", 4, {"a": "ring", "b": "dots"})
    base = max(_measure(plain, command, 2, work)[0] for command in ("check", "fit"))
    bound = base + SLACK_MIB + BYTES_PER_PIXEL * max(MAX_PIXELS_IN_FLIGHT, pixels) / 2**20
    rows = []
    for threads in THREADS[-1:] if small else THREADS:
        for command in ("check",) if small else ("check", "fit"):
            peak, code, said = _measure(bombs, command, threads, work)
            rows.append(
                {
                    "command": command,
                    "threads": threads,
                    "peak MiB": round(peak),
                    "bound MiB": round(bound),
                    "exit code": code,
                    "traceback": "Traceback" in said,
                    "within": peak <= bound and code in (0, 1),
                }
            )
    files = list(bombs.rglob("bomb*"))
    return {
        "files": len(files),
        "largest file, KiB": round(max(path.stat().st_size for path in files) / 1024),
        "pixels of the largest": pixels,
        "bytes per pixel allowed": BYTES_PER_PIXEL,
        "without bombs, MiB": round(base),
        "runs": rows,
    }


def _measure(source: Path, command: str, threads: int, work: Path) -> tuple[float, int, str]:
    """Return the peak resident memory of a command in MiB, its exit code and what it said."""
    args = [command, os.fspath(source)]
    if command == "fit":
        args += ["--encoder", "pixels/8x8x1", "--method", "GDA", "--folds", "2"]
        args += ["--out", os.fspath(work / "model")]
    store = work / f"{command} {threads} {source.name}.sqlite"  # nothing is known from before
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ILK_STORE": os.fspath(store)}
    peak = work / "peak.txt"
    peak.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(threads), os.fspath(peak), *args],
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )
    store.unlink(missing_ok=True)
    kib = int(peak.read_text()) if peak.exists() else MISSING_KIB
    return kib / 1024, done.returncode, done.stdout + done.stderr


def write_bombs(root: Path, pixels: int, copies: int) -> None:
    """Write small files of almost `pixels` pixels each, and lines of the greatest length.

    Args:
        root: Folder to create.
        pixels: Width × height that no file exceeds, except those that must be refused.
        copies: Files of each kind, all different.
    """
    for name in ("a", "b"):
        (root / name).mkdir(parents=True, exist_ok=True)
    side = int(pixels**0.5)
    for i in range(copies):
        folder = root / "ab"[i % 2]
        for name, content in _iter_bombs(side, pixels, i):
            (folder / f"bomb {i} {name}").write_bytes(content)


def _iter_bombs(side: int, pixels: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of files that differ by `seed`."""
    yield "colour.png", _make_flat_png(side, side, 8, 2, 3 * side, seed)
    yield "alpha.png", _make_flat_png(side, side, 8, 6, 4 * side, seed)
    yield "grey of 16 bits.png", _make_flat_png(side, side, 16, 0, 2 * side, seed)
    line = min(MAX_SIDE, pixels)
    yield "wide.png", _make_flat_png(line, pixels // line, 8, 2, 3 * line, seed)
    yield "tall.png", _make_flat_png(pixels // line, line, 8, 2, 3 * (pixels // line), seed)
    yield "too wide.png", _make_flat_png(pixels, 1, 8, 2, 3 * pixels, seed)
    yield "too tall.png", _make_flat_png(1, pixels, 8, 2, 3, seed)
    flat = Image.new("P", (side, side), seed + 1)
    flat.putpalette([7 * seed % 256, 80, 90] * 256)
    yield "flat.gif", _save(flat, "GIF")
    yield "flat.tif", _save(Image.new("L", (side, side), seed), "TIFF", compression="tiff_lzw")
    yield "float.tif", _save(Image.new("F", (side, side), seed), "TIFF", compression="tiff_lzw")
    webp = min(side, 16_383)
    yield (
        "flat.webp",
        _save(Image.new("RGB", (webp, webp), (seed, 9, 9)), "WEBP", lossless=True, method=0),
    )


def _make_flat_png(
    width: int, height: int, depth: int, colour: int, row_bytes: int, seed: int
) -> bytes:
    """Return a PNG file of one colour without holding its pixels in memory."""
    packer = zlib.compressobj(9)
    row = b"\0" + bytes([seed % 256]) * row_bytes
    block = row * max(1, min(height, 2**20 // len(row)))
    n_blocks, rest = divmod(height * len(row), len(block))
    data = b"".join(packer.compress(block) for _ in range(n_blocks))
    data += packer.compress(block[:rest]) + packer.flush()
    return make_png(width, height, data, depth, colour)


def _save(image: Image.Image, name: str, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, name, **options)
    return out.getvalue()
