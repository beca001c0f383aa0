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

import json
import os
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from ilk.core.contracts import describe
from ilk.core.digested_json import check_digest, encode_digested, parse_json
from ilk.core.errors import ArtifactError, IlkError, OutputError
from ilk.core.folder_transaction import FolderTransaction, finish_commit, lock_folder
from ilk.core.regular_file import read_regular_file
from ilk.core.space import FeatureSpace
from ilk.core.typed_values import check_type
from ilk.retrieval.entries import Entries
from ilk.retrieval.file_fingerprints import FileEntries, check_files, describe_file
from ilk.retrieval.index import Index
from ilk.retrieval.kinds import parse_kind
from ilk.retrieval.projection import Projection

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
    """Whether a folder holds an index."""
    return (Path(path) / FILE).is_file()


def save_index(index: Index, folder: Path) -> Path:
    """Write an index to a folder in one step and return the folder; see `Index.save`.

    Raises:
        OutputError: The folder cannot be written, another process writes to it, or it holds
            something else.
    """
    _check_folder(folder)
    with lock_folder(folder, wait=SAVE_SECONDS):
        old = _read_old_files(folder)
        is_same = index.folder is not None and index.folder.resolve() == folder.resolve()
        change, files = FolderTransaction(folder), {}
        for name, write in index.vectors.list_files().items():
            if is_same and name in old:
                files[name] = old[name]
                continue
            change.write_with(name, write)
            files[name] = describe_file(_find_new(folder, name))
        images = f"entries-{1 + _count_saves(old)}.safetensors"
        change.write(images, _pack_images(index))
        files[images] = describe_file(_find_new(folder, images))
        for name in set(old) - set(files):
            change.delete(name)
        change.write(FILE, encode_digested(_describe(index, images, files)))
        change.commit()
    index.folder = folder
    return folder


def open_index(folder: str | os.PathLike[str]) -> Index:
    """Return the index in a folder.

    Raises:
        ArtifactError: There is none, it was written by another version, or a file is missing, cut
            off or altered.
        Unavailable: Its kind needs a package that is not installed.
    """
    folder = Path(folder)
    finish_commit(folder)
    described = read_description(folder)
    check_files(folder, described["files"])
    try:
        from safetensors.numpy import load

        arrays = load(read_regular_file(folder / described["images"]))
        entries = Entries.from_arrays(arrays, described["next_id"])
        projection = None
        if "weight" in arrays:
            projection = Projection(arrays["centre"], arrays["weight"])
        space = FeatureSpace(**described["space"])
        kind = parse_kind(described["kind"])
        dim = space.dim if projection is None else projection.weight.shape[1]
        deleted = np.array(entries.deleted, np.int64)
        vectors = kind.open(folder, dim, deleted)
        if not len(vectors) == len(entries) == described["n"]:
            raise ValueError(f"it has {len(vectors)} rows for {len(entries)} images")
    except IlkError:
        raise
    except Exception as error:  # safetensors has errors of its own
        why = " ".join(str(error).split())[:200]
        raise ArtifactError(f"{folder} is damaged ({why}); build the index again") from None
    ranges = {name: (low, high) for name, (low, high) in described["value_ranges"].items()}
    return Index(
        space,
        kind,
        vectors,
        entries,
        projection,
        described["encoder"],
        dict(described["facts"]),
        folder,
        described["source"],
        ranges,
    )


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
        raise ArtifactError(f"{path} describes no index of ilk; name another folder with --index")
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
    """Raise OutputError if the folder holds something that is no index."""
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


def _pack_images(index: Index) -> bytes:
    from safetensors.numpy import save

    arrays = index.entries.to_arrays()
    if index.projection is not None:
        arrays |= {"centre": index.projection.centre, "weight": index.projection.weight}
    return bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def _describe(index: Index, images: str, files: dict[str, FileEntries]) -> dict[str, Any]:
    space = index.space
    described = {
        "format": FORMAT,
        "version": VERSION,
        "space": {"key": space.key, "name": space.name, "dim": space.dim},
        "encoder": dict(index.encoder),
        "kind": describe(index.kind),
        "n": len(index),
        "next_id": index.entries.next_id,
        "images": images,
        "files": files,
        "facts": index.facts,
        "source": index.source,
        "value_ranges": {name: list(pair) for name, pair in index.value_ranges.items()},
    }
    plain: dict[str, Any] = json.loads(json.dumps(described))
    return plain
