"""Thousands of hostile files: each is one row, and every command says the same of it."""

from __future__ import annotations

import json
import os
import shutil
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.robustness.commands import call
from benchmarks.robustness.inputs import draw_picture, write_folder
from benchmarks.robustness.mutations import damage

RELATIONS = {"duplicate", "same content under two labels", "in both train and test"}
"""Reasons of `check` that say nothing of whether the file can be read."""

FORMATS: dict[str, tuple[str, dict[str, Any]]] = {  # suffix and options of Pillow
    "png": ("PNG", {}),
    "jpg": ("JPEG", {"quality": 90}),
    "jpeg": ("JPEG", {"quality": 80, "progressive": True}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "tif": ("TIFF", {}),
    "tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "webp": ("WEBP", {"quality": 80}),
    "WEBP": ("WEBP", {"lossless": True}),
    "ppm": ("PPM", {}),
}
MODES = ("1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F", "HSV", "LAB")
ODD_NAMES = (
    *("a\nb.png", "\x1b[31mred.png", "tab\there.png", "\u202egnp.exe.png", "-rf.png", "--out.png"),
    *("=1+1.png", "@cmd.png", " leading.png", "trailing .png", "dot..png", ".hidden.png", "%s.png"),
    *("quote'\".png", "a|b.png", "a;b.png", "a,b.png", "emoji\U0001f600.png", "e\u0301.png"),
    *(
        "\xe9.png",
        "x" * 240 + ".png",
        "null%00.png",
        "back\\slash.png",
        "bell\x07.png",
        "\u200b.png",
    ),
    *("CON.png", "nul", "Thumbs.db", ".DS_Store", "desktop.ini", "$var.png", "`id`.png", "*.png"),
)


def measure_hostile_files(work: Path, n: int) -> dict[str, Any]:
    """Write at least `n` hostile files and run `check`, `fit` and `predict` on them.

    Returns:
        Counts, and what must be 0: files without a row, disagreements and tracebacks.
    """
    images, model, report = work / "hostile", work / "model", work / "check.json"
    expected = write_hostile_files(images, n)
    started = time.monotonic()
    checked = call("check", images, "--out", report)
    fitted = call(
        *("fit", images, "--encoder", "pixels/8x8x1", "--method", "NearestClassMean"),
        *("--folds", "2", "--out", model),
    )
    rows = _read_rows(report)
    fit_rows = _read_rows(model / "intake.json")
    clean = write_folder(work / "clean", 6)
    small = work / "small"
    made = call("fit", clean, "--encoder", "pixels/8x8x1", "--out", small)
    predicted = call("predict", small, images, "--json")
    answers = json.loads(predicted.out) if predicted.out else []
    root = os.fspath(images) + os.sep
    reasons = {
        record["path"].removeprefix(root): (record.get("error") or "").partition(":")[0]
        for record in answers
    }
    disagreements = [
        f"{path!r}: check says {reason or 'used'}, predict says {reasons.get(path, 'no row')}"
        for path, (status, reason) in rows.items()
        if status != "ignored" and reason not in RELATIONS and reasons.get(path, "no row") != reason
    ]
    disagreements += [
        f"{path!r}: check says {row}, fit says {fit_rows.get(path)}"
        for path, row in rows.items()
        if fit_rows.get(path) != row
    ]
    outcomes = (checked, fitted, made, predicted)
    return {
        "files": len(expected),
        "rows": len(rows),
        "files without a row": len(expected - rows.keys()),
        "rows without a file": len(rows.keys() - expected),
        "reasons": dict(Counter(reason or status for status, reason in rows.values())),
        "disagreements": len(disagreements),
        "tracebacks": sum(outcome.has_traceback for outcome in outcomes),
        "exit codes": {
            "check": checked.code,
            "fit": fitted.code,
            "predict": predicted.code,
        },
        "control characters printed": sum(_count_controls(o.out + o.err) for o in outcomes[:3]),
        "seconds": round(time.monotonic() - started, 1),
        "examples": [
            *disagreements[:10],
            *(o.err[-500:] for o in outcomes if o.has_traceback),
        ],
    }


def _count_controls(text: str) -> int:
    """Return how many characters could steer a terminal."""
    return sum((ord(c) < 32 and c not in "\n\t\r") or 0x7F <= ord(c) <= 0x9F for c in text)


def _read_rows(path: Path) -> dict[str, tuple[str, str]]:
    if not path.exists():
        return {}
    return {
        row["path"]: (row["status"], row.get("reason", ""))
        for row in json.loads(path.read_bytes())["rows"]
    }


def write_hostile_files(root: Path, n: int, seed: int = 0) -> set[str]:
    """Write hostile files into three class folders; return all paths relative to `root`.

    Paths are as Python gives them: bytes that are no UTF-8 are lone surrogates.
    """
    shutil.rmtree(root, ignore_errors=True)
    for c in range(3):
        (root / f"class {c}").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i, (name, content) in enumerate(_iter_files(rng, n)):
        (root / f"class {i % 3}" / name).write_bytes(content)
    _write_special(root / "class 0")
    return {
        os.path.relpath(os.path.join(folder, name), root)
        for folder, _, names in os.walk(root)
        for name in names
    }


def _iter_files(rng: np.random.Generator, n: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents: odd names, odd modes, bombs, and then damaged files."""
    for i, name in enumerate(ODD_NAMES):
        yield name, encode(draw_picture("ring", 9000 + i), "png")
    yield os.fsdecode(b"bytes \xff\xfe.png"), encode(draw_picture("ring", 9100), "png")
    for mode in MODES:
        for suffix in FORMATS:
            try:
                yield f"mode {mode.replace(';', '')}.{suffix}", encode(_make_mode(mode), suffix)
            except (OSError, ValueError, KeyError):
                continue  # the format has no such mode
    for i, content in enumerate(iter_headers()):
        yield f"header {i}.png", content
    for i in range(n):
        suffix = list(FORMATS)[i % len(FORMATS)]
        content = encode(draw_picture("dots", 10_000 + i, 16 + i % 9), suffix)
        make = DAMAGED[i // len(FORMATS) % len(DAMAGED)]
        yield f"{i:05}.{suffix}", make(content, rng)


def encode(image: Image.Image, suffix: str) -> bytes:
    """Return the bytes of a file with a picture."""
    name, options = FORMATS[suffix]
    out = BytesIO()
    image.save(out, name, **options)
    return out.getvalue()


def _make_mode(mode: str) -> Image.Image:
    picture = draw_picture("stripe", 77)
    if mode in ("I;16", "I", "F"):
        grey = np.asarray(picture.convert("L")).astype(np.float32) * 257
        dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        return Image.fromarray(grey.astype(dtype))
    return picture.convert(mode)


def iter_headers() -> Iterator[bytes]:
    """Yield PNG files whose headers claim sizes, depths and colour types of all kinds."""
    for width, height in ((0, 0), (0, 5), (1, 2**31 - 1), (2**31 - 1, 1), (70_000, 70_000)):
        yield make_png(width, height, b"")
    for depth, colour in ((3, 2), (16, 7), (1, 6), (8, 9), (0, 0), (255, 255)):
        yield make_png(8, 8, zlib.compress(bytes(400)), depth, colour)
    for head in (
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"GIF89a",
        b"BM",
        b"II*\0",
        b"RIFF____WEBP",
    ):
        yield head
        yield head + b"\xff" * 64
        yield head + bytes(4096)


def make_png(width: int, height: int, data: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """Return a PNG file with this header and this compressed data."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


Damage = Callable[[bytes, np.random.Generator], bytes]
DAMAGED: tuple[Damage, ...] = (
    lambda content, _rng: content,
    lambda content, rng: damage(content, rng)[1],
    lambda content, rng: content[: int(rng.integers(len(content)))],
    lambda content, rng: content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
    lambda content, rng: content + rng.bytes(100),
    lambda content, rng: damage(damage(content, rng)[1], rng)[1],
    lambda _content, rng: rng.bytes(int(rng.integers(2000))),
    lambda _content, _rng: b"",
    lambda content, rng: content[:40] + damage(content[40:], rng)[1],
    lambda _content, _rng: b"just some text\n" * 5,
    lambda content, rng: content[:-2] + content[2:],
    lambda content, rng: content[::-1],
)


def _write_special(folder: Path) -> None:
    """Add links, pipes, sockets, folders that look like files, and what has no permission."""
    (folder / "picture.png").write_bytes(encode(draw_picture("ring", 1), "png"))
    (folder / "link.png").symlink_to("picture.png")
    (folder / "dangling.png").symlink_to("nowhere.png")
    (folder / "itself.png").symlink_to("itself.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    (folder / "folder.png" / "inside.png").write_bytes(encode(draw_picture("ring", 2), "png"))
    (folder / "device.png").symlink_to("/dev/zero")
    (folder / "locked.png").write_bytes(encode(draw_picture("ring", 3), "png"))
    (folder / "locked.png").chmod(0)
    with (folder / "sparse.png").open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.truncate(200 * 2**20)
