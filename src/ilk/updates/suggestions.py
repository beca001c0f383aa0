"""Write suggested groups to a folder: copies of the images, a table of all files, and a page."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from ilk.artifacts.image_blocks import format_refusal
from ilk.artifacts.model_folder import SAVE_SECONDS
from ilk.artifacts.overwrite_guard import TEMPORARY_FILES, check_writable, holds_only_leftovers
from ilk.core.csv_cells import CsvFormatter
from ilk.core.digested_json import check_digest, encode_digested, parse_json
from ilk.core.errors import ArtifactError, OutputError
from ilk.core.fingerprint import hash_file
from ilk.core.folder_transaction import FolderTransaction, finish_commit, lock_folder
from ilk.core.portable_names import make_unique
from ilk.images import ImageError, Images, Row, decode, escape_path
from ilk.updates.discover import GROUPS_FILE, Discovery
from ilk.updates.suggestions_page import render_groups

PAGE_FILE, RECORD_FILE = "groups.html", ".ilk.groups"
COLUMNS = (
    *("path", "group", "suggested_name", "name_probability", "distance", "nearest", "probability"),
    *("unknown", "copy", "error"),
)


def check_output_folder(out: Path) -> Path:
    """Check that groups can be written to `out`.

    What a process that was killed has left counts as nothing. So do groups that were written whole
    and have not been touched since: `write_groups` then checks that it would write the same ones.

    Raises:
        OutputError: If the folder cannot be written or is not empty; earlier groups in it may have
            been renamed.
    """
    with suppress(OSError):  # an unreadable folder is reported by check_writable
        if out.is_dir() and not holds_only_leftovers(out):
            finish_commit(out)
            if not (record := _read_record(out)) or record != _digest_files(out):
                raise _make_occupied_error(out)
            return out
    return check_writable(out)


def _make_occupied_error(out: Path) -> OutputError:
    return OutputError(f"{out} is not empty; name a new or an empty folder with --out")


def _read_record(out: Path) -> dict[str, str]:
    """Return the digests of the files that were written to `out`, by name; none if unknown."""
    try:
        fields = parse_json((out / RECORD_FILE).read_bytes(), out / RECORD_FILE)
        check_digest(fields, out / RECORD_FILE)
        return {str(name): str(digest) for name, digest in fields["files"].items()}
    except (OSError, ArtifactError, LookupError, AttributeError):
        return {}


def _digest_files(out: Path) -> dict[str, str]:
    """Return the digests of all files in `out` but those of ilk's own book-keeping, by name."""
    return {
        path.relative_to(out).as_posix(): hash_file(path)
        for path in out.rglob("*")
        if path.is_file() and not (path.name == RECORD_FILE or TEMPORARY_FILES.fullmatch(path.name))
    }


def write_groups(discovery: Discovery, out: Path, model_folder: str) -> None:
    """Write copies of the images to `out/group-1`, …, and `groups.csv` and `groups.html`.

    All are written in one step. Nothing is written if the folder holds these very files already.

    Args:
        discovery: The groups.
        out: Output folder.
        model_folder: Path of the model, for the commands on the page.

    Raises:
        OutputError: If a file cannot be written, or the folder holds other groups.
    """
    copies: dict[int, str] = {}
    sources: dict[str, Row] = {}
    record: dict[str, str] = {}
    for number in range(1, discovery.n_groups + 1):
        members = discovery.list_group(number)
        names = make_unique([_name_copy(f.row) for f in members])
        for f, name in zip(members, names, strict=True):
            copies[id(f)] = copy = f"group-{number}/{name}"
            sources[copy], record[copy] = f.row, _digest_file(discovery.images, f.row)
    pages = {
        GROUPS_FILE: _format_table(discovery, copies).encode("utf-8", "surrogateescape"),
        PAGE_FILE: render_groups(discovery, model_folder, str(out)).encode("utf-8"),
    }
    record |= {name: hashlib.sha256(page).hexdigest() for name, page in pages.items()}
    with lock_folder(out, wait=SAVE_SECONDS):
        if (written := _read_record(out)) == record:
            return
        if written:
            raise _make_occupied_error(out)
        change = FolderTransaction(out)
        for name, row in sources.items():
            change.write_with(name, partial(_copy_image, discovery.images, row))
        for name, page in pages.items():
            change.write(name, page)
        change.write(RECORD_FILE, encode_digested({"files": record}))
        change.commit()


def _name_copy(row: Row) -> str:
    """Return the name of the copy of an image; what is not a file of its own becomes a PNG file."""
    name = Path(row.path).name
    return f"{name}.png" if _is_redrawn(row) else name


def _is_redrawn(row: Row) -> bool:
    """Whether an image is a page of a file, or pixels in memory: its copy holds what ilk sees."""
    return row.page > 0 or row.size == 0


def _digest_file(images: Images, row: Row) -> str:
    """Return the digest of the copy of an image; that of a row differs if it is read in parts."""
    if not _is_redrawn(row) and row.value_range is None:
        return row.digest
    content = _read_copy(images, row)
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else hash_file(content)


def _read_copy(images: Images, row: Row) -> bytes | Path:
    """Return the content of the copy of an image, or the path of the file to copy."""
    try:
        source = images.source_of(row)
        if isinstance(source, bytes | Path) and not _is_redrawn(row):
            return source
        content = BytesIO()
        decode(source, **row.reading).save(content, "PNG")
    except ImageError as error:
        raise OutputError(
            f"cannot copy {escape_path(images.shown_path_of(row))}: {error.reason} "
            f"({error.detail}); the original images are unchanged"
        ) from error
    return content.getvalue()


def _copy_image(images: Images, row: Row, to: Path) -> None:
    """Write a copy of an image; one in an archive is read from it."""
    source = images.shown_path_of(row)
    content = _read_copy(images, row)
    try:
        if isinstance(content, bytes):
            to.write_bytes(content)
        else:
            shutil.copyfile(content, to)
    except OSError as error:
        raise OutputError(
            f"cannot copy {source} to {to}: {error.strerror}; the original images are unchanged"
        ) from error


def _format_table(discovery: Discovery, copies: dict[int, str]) -> str:
    """Return the CSV table, one line per file; cells without a value are empty."""
    format_line = CsvFormatter().format
    lines = [format_line(COLUMNS)]
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
        lines.append(format_line(cells))
    return "".join(lines)
