"""Read and write the folder of a saved model.

The arrays are stored in safetensors, everything else in JSON; `ilk.artifacts.pack` defines the
parts. Digests detect altered or mixed-up files. They are not a signature: whoever can write to the
folder can also write the digests.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilk.artifacts.description import (
    ClassifierEntries,
    CommonEntries,
    DetectorEntries,
    MultiLabelEntries,
)
from ilk.core.digested_json import compute_digest, refuse_constant
from ilk.core.errors import ArtifactError
from ilk.core.folder_transaction import FolderTransaction, finish_commit, lock_folder
from ilk.core.regular_file import read_regular_file
from ilk.images.sources.ilk_folders import describe_ilk_folder

VERSION = 3  # of the format
WEIGHTS_FILE, DESCRIPTION_FILE = "model.safetensors", "model.json"
WEIGHTS_PATTERN = re.compile(r"model(-[0-9a-f]{8})?\.safetensors")  # file names of weights
SAVE_SECONDS = 10.0  # how long a command waits for another one that is just saving
DAMAGE_ERRORS: tuple[type[Exception], ...] = (ValueError, LookupError, TypeError, AttributeError)
DAMAGE_ERRORS += (RecursionError, ArithmeticError)
UNREADABLE_ERRORS: tuple[type[Exception], ...] = (OSError, *DAMAGE_ERRORS)
READ_ATTEMPTS = 3  # a reader that meets a writer reads again


@dataclass(frozen=True)
class FolderKind:
    """Type of model in a folder.

    Attributes:
        format: Its name in the description.
        command: A command that creates one.
        entries: Types of the entries of the description.
    """

    format: str
    command: str
    entries: type[CommonEntries]


CLASSIFIER = FolderKind("ilk classifier", "ilk fit DIR --out NEW", ClassifierEntries)
MULTI_LABEL = FolderKind(
    "ilk multi-label classifier", "ilk fit TABLE --multi-label --out NEW", MultiLabelEntries
)
DETECTOR = FolderKind("ilk detector", "ilk detect fit DIR --out NEW", DetectorEntries)


@contextmanager
def report_damage(folder: Path) -> Iterator[None]:
    """Turn errors from a description whose entries are not as written into one sentence.

    The digest only tells that a description was altered by accident: an entry that was edited and
    signed again can still be missing, of another type, or not fit the weights.

    Raises:
        ArtifactError: Instead of such an error.
    """
    try:
        yield
    except DAMAGE_ERRORS as error:
        why = " ".join(str(error).split())[:200] or "no reason given"
        raise ArtifactError(
            f"{folder / DESCRIPTION_FILE} is damaged, or of another version of ilk: "
            f"{type(error).__name__}, {why}"
        ) from error


def write(
    folder: Path,
    weights: bytes,
    metadata: Mapping[str, Any],
    kind: FolderKind = CLASSIFIER,
    side_files: Mapping[str, bytes] | None = None,
) -> None:
    """Write the weights, the description and further files in one step, under the folder's lock.

    Whenever the process is killed, the folder holds the previous model with its files or the new
    one with its own.

    Args:
        folder: Folder to write to; created if missing.
        weights: Content of the safetensors file.
        metadata: Further entries of the description.
        kind: Type of model.
        side_files: Contents of further files, by name.

    Raises:
        OutputError: The folder cannot be written, or another process keeps writing to it.
    """
    with lock_folder(folder, wait=SAVE_SECONDS):
        name = _choose_weights_name(folder, sha256 := hashlib.sha256(weights).hexdigest())
        description: dict[str, Any] = {"format": kind.format, "version": VERSION, **metadata}
        description["weights"] = {"file": name, "sha256": sha256}
        # JSON has no nan: what could not be computed is null.
        description = json.loads(json.dumps(description), parse_constant=lambda _name: None)
        description["digest"] = compute_digest(description)
        change = FolderTransaction(folder)
        change.write(name, weights)
        for side_name, content in (side_files or {}).items():
            change.write(side_name, content)
        change.write(DESCRIPTION_FILE, (json.dumps(description, indent=1) + "\n").encode())
        for old_name in _list_encoder_files(folder):
            if old_name not in (side_files or {}):
                change.delete(old_name)
        for old_file in folder.iterdir():
            if WEIGHTS_PATTERN.fullmatch(old_file.name) and old_file.name != name:
                change.delete(old_file.name)
        change.commit()


def _list_encoder_files(folder: Path) -> list[str]:
    """Return the files of the encoder of the model that a folder holds, if it holds one."""
    from ilk.artifacts.encoder_files import list_files

    try:
        return list_files(json.loads(read_regular_file(folder / DESCRIPTION_FILE))["encoder"])
    except UNREADABLE_ERRORS:
        return []


def _choose_weights_name(folder: Path, sha: str) -> str:
    """Return a file name for weights that does not overwrite those of the current description."""
    try:
        stored = json.loads(read_regular_file(folder / DESCRIPTION_FILE))["weights"]
        if stored["sha256"] == sha and WEIGHTS_PATTERN.fullmatch(stored["file"]):
            return str(stored["file"])  # a repetition leaves the same files
        return WEIGHTS_FILE if stored["file"] != WEIGHTS_FILE else f"model-{sha[:8]}.safetensors"
    except UNREADABLE_ERRORS:
        return WEIGHTS_FILE


def read(folder: Path, kind: FolderKind = CLASSIFIER) -> tuple[bytes, dict[str, Any]]:
    """Read the weights and the description of a model folder, and check their digests.

    A change that was interrupted is finished first; one that happens meanwhile is waited for.

    Raises:
        ArtifactError: The folder contains no model of this type, was written in another version of
            the format, or was altered.
    """
    for attempt in range(READ_ATTEMPTS):
        finish_commit(folder)
        digest = read_digest(folder)
        try:
            return _read_once(folder, kind)
        except ArtifactError:
            if read_digest(folder) == digest or attempt == READ_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _read_once(folder: Path, kind: FolderKind) -> tuple[bytes, dict[str, Any]]:
    try:
        content = read_regular_file(folder / DESCRIPTION_FILE)
        description = json.loads(content, parse_constant=refuse_constant)
        stored_format, version = description["format"], description["version"]
        if not (isinstance(stored_format, str) and type(version) is int):
            raise TypeError("format or version")
    except OSError as error:
        raise _make_missing_error(folder, kind, error) from None
    except DAMAGE_ERRORS:
        raise ArtifactError(
            f"{folder / DESCRIPTION_FILE} is not a description written by ilk; "
            f"create a model with: {kind.command}"
        ) from None
    if stored_format != kind.format:
        raise ArtifactError(
            f"{folder / DESCRIPTION_FILE} describes an {stored_format!r}, not an {kind.format!r}; "
            f"create one with: {kind.command}"
        )
    _check_version(folder, version, kind)
    with report_damage(folder):
        if description.get("digest") != compute_digest(description):
            raise ArtifactError(
                f"{folder / DESCRIPTION_FILE} was altered after it was saved; "
                f"create the model again with: {kind.command}"
            )
        return _read_weights(folder, description["weights"], kind), description


def _check_version(folder: Path, version: int, kind: FolderKind) -> None:
    if version > VERSION:
        raise ArtifactError(
            f"{folder} was saved by a newer ilk (format {version}; this one reads {VERSION}); "
            "update ilk to open it"
        )
    if version < VERSION:
        raise ArtifactError(
            f"{folder} was saved by an older ilk (format {version}; this one reads {VERSION}); "
            f"create the model again with: {kind.command}"
        )


def _read_weights(folder: Path, entry: Mapping[str, Any], kind: FolderKind) -> bytes:
    name = str(entry["file"])
    path = folder / (name if WEIGHTS_PATTERN.fullmatch(name) else WEIGHTS_FILE)
    try:
        weights = read_regular_file(path)
    except OSError as error:
        raise _make_missing_error(folder, kind, error) from None
    if entry["sha256"] != hashlib.sha256(weights).hexdigest():
        raise ArtifactError(
            f"{path} is not the file that {DESCRIPTION_FILE} refers to; "
            f"create the model again with: {kind.command}"
        )
    return weights


def _make_missing_error(folder: Path, kind: FolderKind, error: OSError) -> ArtifactError:
    if what := describe_ilk_folder(folder):
        return ArtifactError(f"{folder} is no {kind.format}: {what}")
    return ArtifactError(
        f"{folder} contains no {kind.format} ({Path(str(error.filename)).name}: "
        f"{error.strerror}); create one with: {kind.command}"
    )


def read_format(folder: Path) -> str:
    """Return the type of model that the description of `folder` names, or "" without one."""
    try:
        return str(json.loads(read_regular_file(folder / DESCRIPTION_FILE))["format"])
    except UNREADABLE_ERRORS:
        return ""


def read_digest(folder: Path) -> str:
    """Return the digest of the model in `folder`, or "" if there is none."""
    try:
        return str(json.loads(read_regular_file(folder / DESCRIPTION_FILE))["digest"])
    except UNREADABLE_ERRORS:
        return ""
