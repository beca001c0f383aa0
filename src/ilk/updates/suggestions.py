"""Write suggested groups to a folder: copies of the images, a table of all files, and a page."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ilk.artifacts.classifier import format_refusal
from ilk.artifacts.overwrite_guard import check_writable
from ilk.core.atomic_write import write_atomically
from ilk.core.errors import OutputError
from ilk.images import Images, Row
from ilk.updates.discover import GROUPS_FILE, Discovery
from ilk.updates.suggestions_page import render_groups

PAGE_FILE = "groups.html"
COLUMNS = (
    *("path", "group", "suggested_name", "name_probability", "distance", "nearest", "probability"),
    *("unknown", "copy", "error"),
)


def check_output_folder(out: Path) -> Path:
    """Check that groups can be written to `out`.

    Raises:
        OutputError: If the folder cannot be written or is not empty; earlier groups in it may have
            been renamed.
    """
    with suppress(OSError):  # an unreadable folder is reported by check_writable
        if out.is_dir() and any(out.iterdir()):
            raise OutputError(f"{out} is not empty; name a new or an empty folder with --out")
    return check_writable(out)


def write_groups(discovery: Discovery, out: Path, model_folder: str) -> None:
    """Write copies of the images to `out/group-1`, …, and `groups.csv` and `groups.html`.

    Args:
        discovery: The groups.
        out: Output folder.
        model_folder: Path of the model, for the commands on the page.

    Raises:
        OutputError: If a file cannot be written.
    """
    copies: dict[int, str] = {}
    out.mkdir(parents=True, exist_ok=True)
    for number in range(1, discovery.n_groups + 1):
        members = discovery.list_group(number)
        names = make_unique([Path(f.row.path).name for f in members])
        for f, name in zip(members, names, strict=True):
            copies[id(f)] = f"group-{number}/{name}"
            _copy_image(discovery.images, f.row, out / f"group-{number}" / name)
    lines = _format_table(discovery, copies)
    write_atomically(out / GROUPS_FILE, lines.encode("utf-8", "surrogateescape"))
    write_atomically(
        out / PAGE_FILE, render_groups(discovery, model_folder, str(out)).encode("utf-8")
    )


def make_unique(names: Sequence[str]) -> list[str]:
    """Return names that differ even when case is ignored, such as `a.png` and `a-2.png`."""
    used: set[str] = set()
    result = []
    for name in names:
        number, path, candidate = 1, Path(name), name
        while candidate.casefold() in used:
            number += 1
            candidate = f"{path.stem}-{number}{path.suffix}"
        used.add(candidate.casefold())
        result.append(candidate)
    return result


def _copy_image(images: Images, row: Row, to: Path) -> None:
    """Write a copy of an image; one in an archive is read from it."""
    source = images.path_of(row)
    content = images.find_content(source)
    try:
        to.parent.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            to.write_bytes(content)
        else:
            shutil.copyfile(source, to)
    except OSError as error:
        raise OutputError(
            f"cannot copy {source} to {to}: {error.strerror}; the original images are unchanged"
        ) from error


def _format_table(discovery: Discovery, copies: dict[int, str]) -> str:
    """Return the CSV table, one line per file; cells without a value are empty."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for f in discovery.grouped:
        if f.row.status == "ignored":
            continue
        is_read, name = f.row.status == "used", discovery.names.get(f.group)
        cells: tuple[Any, ...] = (
            f.row.path,
            f"group-{f.group}" if f.group else "",
            name.name if name else "",
            f"{name.probability:.6f}" if name else "",
            f"{f.distance:.4f}" if f.group else "",
            f.nearest_class,
            f"{f.probability:.6f}" if is_read else "",
            str(f.is_unknown).lower() if is_read else "",
            copies.get(id(f), ""),
            "" if is_read else format_refusal(f.row),
        )
        rows.writerow(cells)
    return text.getvalue()
