"""A saved model's folder: arrays in safetensors, everything else in JSON, and a check on both.

What parts are made of is told in `ilk.packed`. The digests find a file that was altered or mixed
up; they are no signature: whoever can write the folder can also write the digest.

Version 2 (what `ilk.trust.kept` keeps, parts within parts, weights under another name) reads all
that version 1 wrote.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilk.errors import ArtefactError, OutputError

VERSION = 2
AGAIN = "make it again:"
WEIGHTS, ABOUT = "model.safetensors", "model.json"
STORED = re.compile(r"model(-[0-9a-f]{8})?\.safetensors")  # names that weights may have
MARK = ".ilk.part"  # lies there while a model's folder is being written


@dataclass(frozen=True)
class Kind:
    """What a folder holds, as its description calls it, and the command that makes one."""

    format: str
    made: str


CLASSIFIER = Kind("ilk classifier", "ilk fit DIR --out NEW")
DETECTOR = Kind("ilk detector", "ilk normal DIR --out NEW")


def digest(about: Mapping[str, Any]) -> str:
    """SHA-256 of the description, its own `digest` entry left out."""
    bare = {key: value for key, value in about.items() if key != "digest"}
    return hashlib.sha256(json.dumps(bare, sort_keys=True).encode()).hexdigest()


def write(folder: Path, weights: bytes, about: Mapping[str, Any], kind: Kind = CLASSIFIER) -> None:
    """Write both files, the description last, each whole or not at all.

    Until the description is there, the folder holds the model that it held before: other weights
    than those go beside them under a name of their own, and the old ones go last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = _free(folder, sha := hashlib.sha256(weights).hexdigest())
    told: dict[str, Any] = {"format": kind.format, "version": VERSION, **about}
    told["weights"] = {"file": name, "sha256": sha}
    told = json.loads(json.dumps(told))
    told["digest"] = digest(told)
    write_file(folder / name, weights)
    write_file(folder / ABOUT, (json.dumps(told, indent=1) + "\n").encode())
    for old in folder.iterdir():
        if STORED.fullmatch(old.name) and old.name != name:
            old.unlink(missing_ok=True)


def _free(folder: Path, sha: str) -> str:
    """A name for weights that overwrites none that the folder's description speaks of."""
    try:
        held = json.loads((folder / ABOUT).read_bytes())["weights"]
        return (
            WEIGHTS
            if held["file"] != WEIGHTS or held["sha256"] == sha
            else f"model-{sha[:8]}.safetensors"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return WEIGHTS


def read(folder: Path, kind: Kind = CLASSIFIER) -> tuple[bytes, dict[str, Any]]:
    """Both files of a model folder, checked against each other.

    Raises:
        ArtefactError: It is no folder of this kind, was made by a newer ilk, or was altered.
    """
    try:
        about = json.loads((folder / ABOUT).read_bytes())
        held, version = about["format"], int(about["version"])
    except OSError as error:
        raise _absent(folder, kind, error) from None
    except (ValueError, KeyError, TypeError):
        raise ArtefactError(f"{folder / ABOUT} is not a description written by ilk") from None
    if held != kind.format:
        raise ArtefactError(
            f"{folder / ABOUT} describes an {held!r}, not an {kind.format!r}; make one with: "
            f"{kind.made}"
        )
    if version > VERSION:
        raise ArtefactError(
            f"{folder} was made by a newer ilk (format {version}; this one reads up to {VERSION}); "
            "update ilk to open it"
        )
    if about.get("digest") != digest(about):
        raise ArtefactError(f"{folder / ABOUT} was altered after ilk wrote it; {AGAIN} {kind.made}")
    name = str(about["weights"]["file"])
    try:
        weights = (folder / (name if STORED.fullmatch(name) else WEIGHTS)).read_bytes()
    except OSError as error:
        raise _absent(folder, kind, error) from None
    if about["weights"]["sha256"] != hashlib.sha256(weights).hexdigest():
        raise ArtefactError(
            f"{folder / name} is not the file that {ABOUT} was written for; {AGAIN} {kind.made}"
        )
    return weights, about


def _absent(folder: Path, kind: Kind, error: OSError) -> ArtefactError:
    return ArtefactError(
        f"{folder} holds no {kind.format} ({Path(str(error.filename)).name}: {error.strerror}); "
        f"make one with: {kind.made}"
    )


def write_file(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there, so that no half file is ever seen.

    Raises:
        OutputError: The folder cannot be written or the disk is full.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may keep the name and lose the bytes
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):  # a read-only disk does not let go of it either
            part.unlink()
        raise OutputError(
            f"cannot write {path}: {error.strerror}; name another folder or file with --out"
        ) from error


def stamp(folder: Path) -> str:
    """What changes whenever the model in `folder` does; "" where there is none."""
    try:
        return str(json.loads((folder / ABOUT).read_bytes())["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def json_bytes(value: Any) -> bytes:
    """JSON as ilk writes it: ASCII, so that any file name survives."""
    return (json.dumps(value, indent=1) + "\n").encode()
