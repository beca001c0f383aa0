"""The folder of an index: `index.json` with a digest, its images, and the files of its rows.

| file | content |
|---|---|
| `index.json` | format, encoder and its space, kind, facts, next id; a fingerprint per file |
| `entries-N.safetensors` | ids, digests, paths and labels, deleted ids, projection |
| others | what the kind of index writes; never changed once written |

All of it changes in one step (`ilk.core.folder_transaction`). The fingerprint of a file is the
SHA-256 of its size and of at most 64 pieces of 1 MiB, evenly spaced: a file up to 64 MiB is
compared whole, and opening a larger one does not take longer than searching it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from ilk.core.digested_json import check_digest, encode_digested, parse_json
from ilk.core.errors import ArtifactError, OutputError
from ilk.core.file_fingerprints import FileEntries, describe_file
from ilk.core.folder_transaction import FolderTransaction, lock_folder
from ilk.core.regular_file import read_regular_file
from ilk.core.typed_values import check_type
from ilk.images.sources.ilk_folders import read_format
from ilk.retrieval.vectors.contract import Writers

FILE = "index.json"
FORMAT, VERSION = "ilk index", 1
SAVE_SECONDS = 10.0


class SpaceEntries(TypedDict):
    """The feature space of an index."""

    key: str
    name: str
    dim: int


class IndexEntries(TypedDict):
    """Types of the entries of `index.json`."""

    format: str
    version: int
    space: SpaceEntries
    encoder: dict[str, Any]
    kind: str
    n: int
    next_id: int
    images: str
    files: dict[str, FileEntries]
    facts: dict[str, Any]
    source: str
    value_ranges: dict[str, list[float]]
    digest: NotRequired[str]


def is_index(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds an index, also a damaged one; another `index.json` is none."""
    folder = Path(path)
    if not (folder / FILE).is_file():
        return False
    is_ilk = read_format(folder / FILE).startswith(FORMAT)
    return is_ilk or any(folder.glob("entries-*.safetensors"))


def write_index(
    folder: Path, description: Mapping[str, Any], writers: Writers, images: bytes, *, is_same: bool
) -> None:
    """Write an index to a folder in one step.

    Args:
        folder: The folder, created if missing.
        description: Entries of `index.json`, without those of files.
        writers: What writes the files of the rows.
        images: Content of the file of images.
        is_same: Whether the index lies in this folder already, so that its files can stay.

    Raises:
        OutputError: The folder cannot be written, another process writes to it, or it holds
            something else.
    """
    _check_folder(folder)
    with lock_folder(folder, wait=SAVE_SECONDS):
        old = _read_old_files(folder)
        change, files = FolderTransaction(folder), {}
        for name, write in writers.items():
            if is_same and name in old:
                files[name] = old[name]
                continue
            change.write_with(name, write)
            files[name] = describe_file(_find_new(folder, name))
        images_file = f"entries-{1 + _count_saves(old)}.safetensors"
        change.write(images_file, images)
        files[images_file] = describe_file(_find_new(folder, images_file))
        for name in set(old) - set(files):
            change.delete(name)
        described = {"format": FORMAT, "version": VERSION, **description}
        described |= {"images": images_file, "files": files}
        change.write(FILE, encode_digested(described))
        change.commit()


def read_description(folder: Path) -> IndexEntries:
    """Return the content of `index.json`.

    Raises:
        ArtifactError: It is missing, altered, or of another version.
    """
    path = folder / FILE
    try:
        content = read_regular_file(path)
    except OSError as error:
        raise ArtifactError(
            f"{folder} holds no index ({error.strerror or error}); build one with: ilk search DIR "
            "QUERY --index NEW"
        ) from None
    fields = parse_json(content, path)
    if fields.get("format") != FORMAT:
        raise ArtifactError(
            f"{path} does not describe an index of ilk; name another folder with --index"
        )
    if fields.get("version") != VERSION:
        raise ArtifactError(
            f"{path} is of version {fields.get('version')}, and this ilk reads {VERSION}; build "
            "the index again"
        )
    check_digest(fields, path)
    try:
        check_type(fields, IndexEntries, "")
    except TypeError as error:
        raise ArtifactError(f"{path} is damaged ({error}); build the index again") from None
    described: IndexEntries = fields  # type: ignore[assignment]
    return described


def _check_folder(folder: Path) -> None:
    """Raise OutputError if the folder holds something that is not an index."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; name a new folder with --index")
    if folder.is_dir() and not is_index(folder):
        others = [name for name in os.listdir(folder) if not name.startswith(".ilk")]
        if others:
            raise OutputError(
                f"{folder} holds {others[0]}, and no index; name a new folder with --index"
            )


def _read_old_files(folder: Path) -> dict[str, FileEntries]:
    try:
        return dict(read_description(folder)["files"])
    except ArtifactError:
        return {}


def _count_saves(old: dict[str, FileEntries]) -> int:
    numbers = [name.removeprefix("entries-").partition(".")[0] for name in old]
    return max((int(number) for number in numbers if number.isdigit()), default=0)


def _find_new(folder: Path, name: str) -> Path:
    from ilk.core.folder_transaction import NEW_SUFFIX

    return folder / (name + NEW_SUFFIX)
