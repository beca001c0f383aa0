"""A folder of suggested groups: copies of the images, a sheet of all files, and a page."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ilk.artefact import write_file
from ilk.claimed import claim
from ilk.classifier import told
from ilk.errors import OutputError
from ilk.living.discover import SHEET, Discovery, Found
from ilk.report.groups import page

PAGE = "groups.html"
COLUMNS = ("path", "group", "distance", "nearest", "probability", "unknown", "copy", "error")


def free(out: Path) -> Path:
    """Make sure that groups can be written to `out`, before any work is done.

    Raises:
        OutputError: It cannot be written, or holds anything at all: groups may have been renamed.
    """
    with suppress(OSError):  # what cannot be read cannot be written either, which claim says
        if out.is_dir() and any(out.iterdir()):
            raise OutputError(f"{out} is not empty; name a new or an empty folder with --out")
    return claim(out)


def write(discovery: Discovery, out: Path, known: str) -> None:
    """Copies of the images in `out/group-1`, …, the sheet `groups.csv` and the page `groups.html`.

    Args:
        known: The model folder, for the commands that the page shows.

    Raises:
        OutputError: Something cannot be written; says what.
    """
    copies: dict[int, str] = {}
    out.mkdir(parents=True, exist_ok=True)
    for number in range(1, discovery.groups + 1):
        members = discovery.group(number)
        names = unique([Path(f.row.path).name for f in members])
        for f, name in zip(members, names, strict=True):
            copies[id(f)] = f"group-{number}/{name}"
            _copy(discovery.images.file(f.row), out / f"group-{number}" / name)
    lines = _lines(discovery.found, copies)
    write_file(out / SHEET, lines.encode("utf-8", "surrogateescape"))
    write_file(out / PAGE, page(discovery, known, str(out)).encode("utf-8"))


def unique(names: Sequence[str]) -> list[str]:
    """Names of which no two are the same in any case: `a.png`, `a-2.png`."""
    taken: set[str] = set()
    out = []
    for name in names:
        at, path, free = 1, Path(name), name
        while free.casefold() in taken:
            at += 1
            free = f"{path.stem}-{at}{path.suffix}"
        taken.add(free.casefold())
        out.append(free)
    return out


def _copy(source: Path, to: Path) -> None:
    try:
        to.parent.mkdir(exist_ok=True)
        shutil.copyfile(source, to)
    except OSError as error:
        raise OutputError(
            f"cannot copy {source} to {to}: {error.strerror}; the images themselves are untouched"
        ) from error


def _lines(found: Sequence[Found], copies: dict[int, str]) -> str:
    """The sheet: one line a file, as they were found; numbers are empty where there are none."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for f in found:
        if f.row.status == "ignored":
            continue
        read = f.row.status == "used"
        cells: tuple[Any, ...] = (
            f.row.path,
            f"group-{f.group}" if f.group else "",
            f"{f.distance:.4f}" if f.group else "",
            f.nearest,
            f"{f.probability:.6f}" if read else "",
            str(f.unknown).lower() if read else "",
            copies.get(id(f), ""),
            "" if read else told(f.row),
        )
        rows.writerow(cells)
    return text.getvalue()
