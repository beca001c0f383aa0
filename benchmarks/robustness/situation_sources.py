"""Situations of where images come from, of formats, and of options."""

from __future__ import annotations

import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from benchmarks.robustness.commands import Outcome, call, start
from benchmarks.robustness.inputs import (
    SHAPES,
    draw_picture,
    list_labelled,
    write_folder,
    write_table,
)
from benchmarks.robustness.situations import Desk, Situation

SOURCES, FORMATS, OPTIONS = "sources", "formats", "options"
NAMES = "ring|stripe|dots"
FAST = ("--encoder", "pixels/8x8x3", "--method", "GDA")


def _predict_table(desk: Desk) -> Outcome:
    rows = [row[:1] for row in list_labelled(desk.root, 2)]
    return call("predict", desk.model, write_table(desk.root / "t.csv", ("path",), rows))


def _predict_list(desk: Desk) -> Outcome:
    rows = [row[0] for row in list_labelled(desk.root, 2)]
    (desk.root / "list.txt").write_text("\n".join(rows) + "\n")
    return call("predict", desk.model, desk.root / "list.txt")


def _predict_pattern(desk: Desk) -> Outcome:
    write_folder(desk.root / "photos", 2)
    return call("predict", desk.model, desk.root / "photos" / "*" / "*.png")


def _predict_standard_input(desk: Desk) -> Outcome:
    paths = sorted(write_folder(desk.root / "photos", 2).glob("*/*.png"))
    process = start("predict", desk.model, "-", stdin=subprocess.PIPE)
    out, err = process.communicate("\n".join(map(str, paths)) + "\n", timeout=60)
    return Outcome(process.returncode, out, err)


def _zip(desk: Desk) -> Path:
    path = desk.root / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for image in sorted(desk.images.glob("*/*.png")):
            archive.write(image, image.relative_to(desk.images))
    return path


def _tar(desk: Desk) -> Path:
    path = desk.root / "photos.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for image in sorted(desk.images.glob("*/*.png")):
            archive.add(image, str(image.relative_to(desk.images)))
    return path


def _outside(desk: Desk) -> Path:
    path = desk.root / "escape.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(desk.images / "ring" / "000.png", "../../ring/out.png")
        archive.write(desk.images / "ring" / "001.png", "ring/in.png")
    return path


def _with_source(name: str, make: Callable[[Desk], Path]) -> Callable[[Desk], Outcome]:
    def run(desk: Desk) -> Outcome:
        source = make(desk)
        commands = {
            "check": ("check", source),
            "fit": ("fit", source, *FAST, "--out", desk.root / "out"),
            "predict": ("predict", desk.model, source),
            "adapt": ("adapt", desk.model, source, "--force", "--out", desk.root / "out"),
            "detect": ("detect", "fit", source, *FAST[:2], "--out", desk.root / "out"),
        }
        return call(*commands[name])

    return run


def _pages(suffix: str, *options: str) -> Callable[[Desk], Outcome]:
    def run(desk: Desk) -> Outcome:
        photos = write_folder(desk.root / "photos", 3)
        first, *rest = [draw_picture(shape, 700) for shape in SHAPES]
        path = photos / "ring" / f"pages.{suffix}"
        first.save(path, save_all=True, append_images=rest)
        return call("check", photos, *options)

    return run


def _file(name: str, content: bytes) -> Callable[[Desk], Outcome]:
    def run(desk: Desk) -> Outcome:
        photos = write_folder(desk.root / "photos", 3)
        (photos / "ring" / name).write_bytes(content)
        return call("check", photos)

    return run


def _portable(desk: Desk) -> Outcome:
    folder = desk.root / "photos"
    for shape in SHAPES:
        (folder / shape).mkdir(parents=True)
        for i in range(3):
            draw_picture(shape, i).save(folder / shape / f"{i}.ppm")
            draw_picture(shape, 50 + i).convert("L").save(folder / shape / f"{i}.pgm")
    return call("check", folder)


def _thumbnail_first(desk: Desk) -> Outcome:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    photos = write_folder(desk.root / "photos", 3)
    tags = ImageFileDirectory_v2()
    tags[254] = 1  # a reduced image of another page
    path = photos / "ring" / "raw.dng"
    draw_picture("ring", 700).resize((16, 16)).save(path, "TIFF", tiffinfo=tags)
    return call("check", photos)


def _wrapped(desk: Desk) -> Outcome:
    write_folder(desk.root / "photos" / "data", 6)
    return call("fit", desk.root / "photos", *FAST, "--out", desk.root / "out")


def _table_beside(desk: Desk) -> Outcome:
    rows = [(f"images/{p}", s) for p, s, _ in list_labelled(desk.root / "photos" / "images")]
    write_table(desk.root / "photos" / "labels.csv", ("path", "label"), rows)
    return call("fit", desk.root / "photos", *FAST, "--out", desk.root / "out")


def _no_folder(desk: Desk) -> Outcome:
    return call("predict", desk.model, desk.images, "--out", desk.root / "nodir" / "x.csv")


def _options(*options: str) -> Callable[[Desk], Outcome]:
    def run(desk: Desk) -> Outcome:
        return call("fit", desk.images, *FAST, *options, "--out", desk.root / "out")

    return run


def _exclude(desk: Desk) -> Outcome:
    photos = write_folder(desk.root / "photos", 3)
    draw_picture("ring", 60).save(photos / "ring" / "thumb_1.png")
    outcome = call("check", photos, "--exclude", "thumb_*")
    n_used = outcome.out.count("thumb_1")
    return Outcome(outcome.code, outcome.out + f"\n{n_used} mentions", outcome.err)


def _unreadable_image(desk: Desk) -> Outcome:
    path = desk.root / "x.png"
    Image.new("RGB", (8, 8)).save(path)
    path.write_bytes(path.read_bytes()[:30])
    return call("predict", desk.model, path)


DICOM = b"\0" * 128 + b"DICM" + b"\0" * 100
HEIC = b"\0\0\0\x18ftypheic" + b"\0" * 100
RAW = b"FUJIFILMCCD-RAW " + b"\0" * 200
READS = (0, 1)  # 1: some rows were refused

SITUATIONS = (
    Situation(SOURCES, "ilk predict MODEL table.csv", _predict_table, (0,), NAMES),
    Situation(SOURCES, "ilk predict MODEL list.txt", _predict_list, (0,), NAMES),
    Situation(SOURCES, "ilk predict MODEL 'photos/*/*.png'", _predict_pattern, (0,), NAMES),
    Situation(SOURCES, "ilk predict MODEL -", _predict_standard_input, (0,), NAMES, is_slow=True),
    *(
        Situation(SOURCES, f"ilk {name} with a zip archive", _with_source(name, _zip), (0,))
        for name in ("check", "fit", "predict", "adapt", "detect")
    ),
    *(
        Situation(SOURCES, f"ilk {name} with a tar.gz archive", _with_source(name, _tar), (0,))
        for name in ("check", "fit", "predict")
    ),
    Situation(
        SOURCES,
        "an archive whose file lies outside of it",
        _with_source("check", _outside),
        (0, 1, 2),
    ),
    Situation(SOURCES, "a folder in a folder: ilk fit photos", _wrapped, (0, 2), "data"),
    Situation(
        SOURCES, "images/ beside labels.csv: ilk fit photos", _table_beside, (0, 2), "labels.csv"
    ),
    Situation(SOURCES, "an image cut off: ilk predict", _unreadable_image, (1,), "truncated"),
    Situation(FORMATS, "a TIFF of three pages: ilk check", _pages("tif"), READS, "first|pages"),
    Situation(FORMATS, "an animated GIF: ilk check", _pages("gif"), READS, "first|pages"),
    Situation(
        FORMATS,
        "a TIFF of three pages: --pages all",
        _pages("tif", "--pages", "all"),
        READS,
        "12|pages",
    ),
    Situation(FORMATS, "PPM and PGM files: ilk check", _portable, (0,), "18"),
    Situation(FORMATS, "a DICOM file: ilk check", _file("x.dcm", DICOM), (1,), "DICOM"),
    Situation(FORMATS, "a HEIC file: ilk check", _file("x.heic", HEIC), (1,), "HEIC"),
    Situation(FORMATS, "a raw photograph: ilk check", _file("x.raf", RAW), (1,), "raw"),
    Situation(
        FORMATS,
        "a DNG whose first page is a thumbnail",
        _thumbnail_first,
        (1,),
        "thumbnail|raw|reduced",
    ),
    Situation(OPTIONS, "ilk predict --out nodir/x.csv", _no_folder, (5, 2), "nodir"),
    Situation(OPTIONS, "--seed -1", _options("--seed", "-1"), (2,), "seed"),
    Situation(
        OPTIONS,
        "--precision float16 with pixels",
        _options("--precision", "float16"),
        (2,),
        "precision|float16",
    ),
    Situation(OPTIONS, "--exclude 'thumb_*': ilk check", _exclude, (0,), "9"),
    Situation(OPTIONS, "--folds 1", _options("--folds", "1"), (2,), "fold"),
    Situation(OPTIONS, "--encoder nonsense", _options("--encoder", "nonsense"), (2,), "nonsense"),
    Situation(OPTIONS, "--method GDDA", _options("--method", "GDDA"), (2,), "GDA"),
)
