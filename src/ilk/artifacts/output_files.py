"""Check the paths that a command writes to, before any work: nothing of the user's may be lost.

A file is replaced only if ilk wrote it, and a model never lies in a folder whose images it learns
from, because the next run would read its files as images.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ilk.artifacts.row_file import get_part_path
from ilk.core.errors import InputError, OutputError
from ilk.images import ListedInputs, escape_path
from ilk.images.annotations.splits import METADATA_FILES
from ilk.images.sources.special_sources import find_walked_folders

HEAD_BYTES = 4096
BYTE_ORDER_MARK = "\ufeff"
COLUMNS = (  # the first of the tables that ilk writes
    ("path", "name", "probability"),
    ("path", "names", "unknown"),
    ("path", "score", "threshold"),
    ("path", "label", "suggested"),
    ("path", "label", "similarity"),
    ("group", "path", "keep"),
)
TEXT = r'"(?:[^"\\]|\\.)*"'
PREDICTION = (
    rf'\{{\s*"path": {TEXT},\s*'
    rf'("name": (null|{TEXT}),\s*"probability"|"names": (null|\[[^\]]*\]),\s*"probabilities")'
)
REPORT = r'"(root|notes)"|"(images|files)": \d|"name": "\w+",\s*"small": (true|false)'
WRITTEN_BY_ILK = {  # how the files begin that ilk writes, by suffix
    ".csv": "|".join(map(",".join, COLUMNS)),
    ".tsv": "|".join(map("\t".join, COLUMNS)),
    ".json": rf"\{{\s*({REPORT})|\[\s*(\]|{PREDICTION})",
    ".jsonl": PREDICTION,
    ".html": r'<!doctype html>[\s\S]*<meta name="generator" content="ilk ',
    ".onnx": r"\x08[\s\S]\x12\x03ilk",  # version of the format, name of the producer
    ".md": r"---\nlibrary_name: ilk\n",
    ".py": r'"""Name images with a file that `ilk export` wrote',
}


def check_output_file(
    path: Path, suffixes: Sequence[str], sources: Iterable[str | os.PathLike[str]] = ()
) -> Path:
    """Return `path` if a file can be written there and nothing of the user's is lost.

    Args:
        path: The file.
        suffixes: Suffixes of the formats that the command writes.
        sources: What the command reads.

    Raises:
        InputError: It is a source, has another suffix, or the name of a table of labels.
        OutputError: Its folder is missing or cannot be written, or ilk did not write the file.
    """
    shown = escape_path(path)
    if any(is_same_file(path, source) for source in sources):
        raise InputError(f"{shown} is the source itself; name another file with --out")
    if path.suffix.casefold() not in suffixes:
        allowed = suffixes[0] if len(suffixes) == 1 else f"one of {', '.join(suffixes)}"
        raise InputError(f"the suffix of {shown} must be {allowed}; name another file with --out")
    if path.name.casefold() in METADATA_FILES:
        raise InputError(
            f"{shown} has the name of a table of labels, which the next run would read; name "
            "another file with --out"
        )
    check_parent(path)
    for file in (path, get_part_path(path)):
        if os.path.lexists(file) and not is_written_by_ilk(file, path.suffix.casefold()):
            raise OutputError(
                f"{escape_path(file)} exists and was not written by ilk; remove it, or name "
                "another file with --out"
            )
    return path


def is_same_file(path: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether two paths lead to one file, through links and whatever the case of their letters."""
    with suppress(OSError, ValueError):
        return os.path.samefile(path, other)
    return os.path.abspath(path) == os.path.abspath(other)


def check_parent(path: Path) -> None:
    """Raise OutputError if a file `path` cannot be created, or is a folder."""
    shown, parent = escape_path(path), path.parent
    if path.is_dir():
        raise OutputError(f"cannot write {shown}: it is a folder; name a file in it with --out")
    if not parent.is_dir():
        raise OutputError(
            f"cannot write {shown}: there is no folder {escape_path(parent)}; create it, or name a "
            "file in an existing folder with --out"
        )
    probe = parent / f".ilk.{os.getpid()}.trial"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"cannot write {shown}: {error.strerror or error}; name a file in another folder with "
            "--out"
        ) from error


def is_written_by_ilk(path: Path, suffix: str) -> bool:
    """Whether a file is empty, or begins as those that ilk writes with this suffix."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return False
    if not head:
        return True
    if suffix == ".parquet":
        return _is_predictions_table(path)
    text = head.decode("utf-8", "replace").removeprefix(BYTE_ORDER_MARK).lstrip()
    return re.match(WRITTEN_BY_ILK.get(suffix, r"(?!)"), text) is not None


def _is_predictions_table(path: Path) -> bool:
    try:
        from pyarrow import parquet

        names = parquet.read_schema(path).names
    except Exception:  # not installed, or any error of a foreign file
        return False
    return bool(names[:1] == ["path"] and "error" in names)


def check_outside_sources(folder: Path, source: object) -> Path:
    """Return `folder` if it does not lie in, hold or equal a folder whose files `source` names.

    Args:
        folder: Folder that is going to be written.
        source: What is read: a path, or a list of paths and images.

    Raises:
        OutputError: The next run would read what is written there as images.
    """
    return check_outside(folder, find_walked_folders(source))


def check_outside(folder: Path, sources: Iterable[Path]) -> Path:
    """Return `folder` if it does not lie in, hold or equal one of the folders `sources`.

    Raises:
        OutputError: It does.
    """
    for source in sources:
        if not source.exists():
            continue
        inside, holds = _is_inside(folder, source), _is_inside(source, folder)
        if inside or holds:
            relation = "lies in" if inside else "holds"
            place = "is the folder" if inside and holds else f"{relation} {_shorten(source)},"
            raise OutputError(
                f"{escape_path(folder)} {place} whose files are read as images, so the "
                "next run would read what is written there; name a folder beside "
                f"it, such as {_shorten(_propose_sibling(source, folder))}"
            )
    return folder


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether `path`, which may not exist yet, is `folder` or lies in it, through links as well."""
    real = Path(os.path.realpath(path))
    return any(is_same_file(ancestor, folder) for ancestor in (real, *real.parents))


def _propose_sibling(source: Path, folder: Path) -> Path:
    name = folder.name or "model"
    return source.with_name(f"{source.name}-model" if name == source.name else name)


def _shorten(path: Path) -> str:
    """Return an absolute path as seen from the working directory, if that is shorter."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # on another drive of Windows
        relative = os.fspath(path)
    return escape_path(min(relative, os.fspath(path), key=len))


def leave_out(listed: ListedInputs, out: Path) -> ListedInputs:
    """Return the inputs without the file `out` and its part, which an earlier run left."""
    names = {out.name, get_part_path(out).name}
    return replace(
        listed,
        inputs=tuple(
            (name, image)
            for name, image in listed.inputs
            if not isinstance(image, str)
            or os.path.basename(image) not in names
            or not is_same_file(os.path.dirname(image) or ".", out.parent)
        ),
    )
