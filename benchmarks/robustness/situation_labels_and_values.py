"""Situations of labels that are not text, of values without information, and of damaged images."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.robustness.commands import Outcome, call
from benchmarks.robustness.inputs import (
    SHAPES,
    draw_picture,
    list_labelled,
    write_folder,
    write_table,
)
from benchmarks.robustness.situations import Desk, Situation, answer

LABELS, VALUES, DAMAGED, TWICE = "labels", "values", "damaged images", "the same picture again"
FAST = ("--encoder", "pixels/8x8x3", "--method", "GDA")


def _table(
    header: tuple[str, ...], make_row: Callable[[str, str, int], tuple[Any, ...]], **options: Any
) -> Callable[[Desk], Outcome]:
    def run(desk: Desk) -> Outcome:
        rows = [make_row(*row) for row in list_labelled(desk.root)]
        return call("check", write_table(desk.root / "t.csv", header, rows, **options))

    return run


def _json_lines(make_label: Callable[[str], Any]) -> Callable[[Desk], Outcome]:
    def run(desk: Desk) -> Outcome:
        lines = [
            json.dumps({"path": path, "label": make_label(shape)})
            for path, shape, _ in list_labelled(desk.root)
        ]
        (desk.root / "t.jsonl").write_text("\n".join(lines) + "\n")
        return call("check", desk.root / "t.jsonl")

    return run


def _parquet_lists(desk: Desk) -> Outcome:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = list_labelled(desk.root)
    columns = {"path": [r[0] for r in rows], "label": [[r[1], "x"] for r in rows]}
    pq.write_table(pa.table(columns), desk.root / "t.parquet")
    return call("check", desk.root / "t.parquet")


def _windows_text(desk: Desk) -> Outcome:
    names = {"ring": "Bär", "stripe": "Été", "dots": "x"}
    rows = [(path, names[shape]) for path, shape, _ in list_labelled(desk.root)]
    table = write_table(
        desk.root / "t.csv", ("path", "label"), rows, encoding="cp1252", delimiter=";"
    )
    return call("check", table)


def _blank_last_row(desk: Desk) -> Outcome:
    rows = [(path, shape, "") for path, shape, _ in list_labelled(desk.root)]
    return call(
        "check", write_table(desk.root / "t.csv", ("path", "label", "note"), [*rows, ("", "", "")])
    )


def _space_after_comma(desk: Desk) -> Outcome:
    lines = [f"{path}, {shape}" for path, shape, _ in list_labelled(desk.root)]
    (desk.root / "t.csv").write_text("path, label\n" + "\n".join(lines) + "\n")
    outcome = call("check", desk.root / "t.csv", "--json")
    if outcome.code:
        return outcome
    classes = sorted({row["label"] for row in json.loads(outcome.out)["rows"]})
    return answer(f"classes: {classes}")


def _missing_label(desk: Desk) -> Outcome:
    pd: Any = import_module("pandas")  # not needed by ilk, so it may be missing

    import ilk
    from ilk.core.errors import IlkError

    paths = sorted(map(str, write_folder(desk.root / "photos", 4).glob("*/*.png")))
    labels: Any = pd.Series([Path(p).parent.name for p in paths], dtype="string")
    labels[0] = pd.NA
    try:
        model = ilk.fit(paths, labels=labels, encoders="pixels/8x8x3", methods="GDA")
    except IlkError as error:
        return answer(error, error.exit_code)
    return answer(f"fitted, classes {model.classes}")


def _twelve_bits(*options: str) -> Callable[[Desk], Outcome]:
    def run(desk: Desk) -> Outcome:
        for shape in SHAPES:
            (desk.root / "scans" / shape).mkdir(parents=True)
            for i in range(8):
                grey = np.asarray(draw_picture(shape, i).convert("L")) / 255
                Image.fromarray((4095 * grey).astype(np.uint16)).save(
                    desk.root / "scans" / shape / f"{i}.png"
                )
        return call("fit", desk.root / "scans", *FAST, *options, "--out", desk.root / "out")

    return run


def _constant(desk: Desk) -> Outcome:
    for shape, value in (("dark", 1), ("darker", 0)):
        (desk.root / "scans" / shape).mkdir(parents=True)
        for i in range(6):
            pixels = np.full((16, 16), value, np.uint8)
            pixels[i, i] = 2
            Image.fromarray(pixels).save(desk.root / "scans" / shape / f"{i}.png")
    return call("check", desk.root / "scans")


def _cut(
    suffix: str, change: Callable[[bytes], bytes], **options: Any
) -> Callable[[Desk], Outcome]:
    def run(desk: Desk) -> Outcome:
        write_folder(desk.root / "photos", 3)
        rng = np.random.default_rng(0)
        noisy = rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)
        out = BytesIO()
        name = {"jpg": "JPEG", "webp": "WEBP", "png": "PNG"}[suffix]
        Image.fromarray(noisy).save(out, name, **options)
        path = desk.root / "photos" / "ring" / f"damaged.{suffix}"
        path.write_bytes(change(out.getvalue()))
        outcome = call("check", desk.root / "photos", "--json")
        rows = [r for r in json.loads(outcome.out)["rows"] if "damaged" in r["path"]]
        said = [f"{r['status']} {r.get('reason', '')} {r.get('detail', '')}".strip() for r in rows]
        return answer("; ".join(said), outcome.code)

    return run


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _hole(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(512) + content[middle + 512 :]


def _saved_again(desk: Desk) -> Outcome:
    photos = write_folder(desk.root / "photos", 6)
    for i in range(2):
        picture = Image.open(photos / "ring" / f"{i:03}.png")
        picture.save(photos / "stripe" / f"copy {i}.bmp")
        picture.save(photos / "ring" / f"again {i}.png", compress_level=1)
    return call("check", photos)


def _nearly_the_same(desk: Desk) -> Outcome:
    photos = write_folder(desk.root / "photos", 6)
    for i in range(3):
        picture = Image.open(photos / "ring" / f"{i:03}.png").resize((96, 96))
        picture.save(photos / "ring" / f"{i:03}.png")
        picture.save(photos / "ring" / f"near {i}.jpg", quality=85)
    return call("check", photos)


SITUATIONS = (
    Situation(LABELS, "labels that are lists, in Parquet: ilk check", _parquet_lists, (2,), "list"),
    Situation(
        LABELS,
        "labels that are lists, in JSON lines",
        _json_lines(lambda s: [s, "y"]),
        (2,),
        "list",
    ),
    Situation(
        LABELS, "labels that are objects", _json_lines(lambda s: {"id": s}), (2,), "object|text"
    ),
    Situation(
        LABELS,
        "labels that are null in part",
        _json_lines(lambda s: None if s == "dots" else s),
        (0,),
    ),
    Situation(
        LABELS, "a semicolon CSV file in Windows-1252", _windows_text, (0, 2), "Bär|UTF-8", r"\\udc"
    ),
    Situation(
        LABELS,
        "a space after each comma",
        _space_after_comma,
        (0,),
        r"\['dots', 'ring', 'stripe'\]",
    ),
    Situation(
        LABELS,
        "labels 1.0, 2.0, 3.0 in CSV: the classes of Parquet",
        _table(("path", "label"), lambda p, s, _i: (p, f"{SHAPES.index(s) + 1}.0")),
        (0,),
        r"(?m)^\s*1\s",
        r"1\.0",
    ),
    Situation(LABELS, "a last row of empty cells", _blank_last_row, (0, 1), "ring"),
    Situation(
        LABELS,
        "columns name and species, a name for each picture",
        _table(("path", "name", "species"), lambda p, s, i: (p, f"number {i} of {s}", s)),
        (0, 2),
        "species",
    ),
    Situation(LABELS, "pd.NA among the labels: ilk.fit", _missing_label, (0, 2), "fitted|label"),
    Situation(VALUES, "12-bit values in 16-bit files: ilk fit", _twelve_bits(), (0,), "4,?09[0-9]"),
    Situation(
        VALUES,
        "the same, --value-range 0-4095",
        _twelve_bits("--value-range", "0-4095"),
        (0,),
    ),
    Situation(
        VALUES,
        "--value-range nonsense",
        _twelve_bits("--value-range", "nonsense"),
        (2,),
        "value-range|LOW-HIGH",
    ),
    Situation(VALUES, "pictures of almost one value: ilk check", _constant, (0, 1), "constant"),
    Situation(
        DAMAGED,
        "half a JPEG padded with zeros",
        _cut("jpg", lambda c: _half(c) + bytes(len(c) - len(c) // 2)),
        (1,),
        "refused",
    ),
    Situation(
        DAMAGED,
        "half a JPEG closed with an end marker",
        _cut("jpg", lambda c: _half(c) + b"\xff\xd9"),
        (1,),
        "refused",
    ),
    Situation(DAMAGED, "a JPEG with a hole of 512 bytes", _cut("jpg", _hole), (1,), "refused"),
    Situation(
        DAMAGED,
        "half a progressive JPEG",
        _cut("jpg", lambda c: _half(c) + b"\xff\xd9", progressive=True),
        (1,),
        "refused",
    ),
    Situation(
        DAMAGED,
        "half a WebP padded with zeros",
        _cut("webp", lambda c: _half(c) + bytes(len(c) - len(c) // 2)),
        (1,),
        "refused",
    ),
    Situation(DAMAGED, "half a WebP", _cut("webp", _half), (1,), "refused"),
    Situation(
        TWICE,
        "saved as BMP under another class, and recompressed",
        _saved_again,
        (0, 1),
        "two labels",
    ),
    Situation(
        TWICE,
        "saved again as JPEG: near-duplicates",
        _nearly_the_same,
        (0, 1),
        "near[- ]duplicate|nearly the same|almost",
    ),
)
