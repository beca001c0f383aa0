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
LEFT = re.compile(  # what a run that was stopped before its description may leave
    rf"{STORED.pattern}|intake\.json|leaderboard\.json|suspects\.csv|report\.html|\..*\.(part|trial)"
)


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


def claim(folder: Path, kind: Kind = CLASSIFIER, grown_from: Path | None = None) -> Path:
    """Make sure that a model can be written to `folder`, before any work is done.

    A folder that is not there yet is made for a moment only: work that fails leaves none behind.

    Args:
        kind: What may lie there already and be replaced.
        grown_from: The model that the new one comes from; no other may lie there.

    Raises:
        OutputError: It cannot be written, or holds something else.
    """
    try:
        first = next(f for f in (*reversed(folder.parents), folder) if not f.exists())
    except StopIteration:
        first = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = any(folder.iterdir())
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror}; name another folder with --out"
        ) from error
    if held and not _ours(folder, kind):
        raise OutputError(
            f"{folder} holds files that are no {kind.format}; name an empty folder with --out"
        )
    if held and grown_from is not None and not folder.samefile(grown_from):
        raise OutputError(
            f"{folder} holds another {kind.format} than {grown_from}; name an empty folder with "
            "--out, so that it is not lost"
        )
    trial = folder / f".{os.getpid()}.trial"
    write_file(trial, b"")
    trial.unlink()
    if first is not None:
        with suppress(OSError):  # somebody else has put something there
            for made in (folder, *folder.parents):
                made.rmdir()
                if made == first:
                    break
    return folder


def stamp(folder: Path) -> str:
    """What changes whenever the model in `folder` does; "" where there is none."""
    try:
        return str(json.loads((folder / ABOUT).read_bytes())["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _ours(folder: Path, kind: Kind) -> bool:
    """Whether it holds a model of this kind, or what a stopped run of ilk leaves and no more."""
    try:
        return bool(json.loads((folder / ABOUT).read_bytes())["format"] == kind.format)
    except FileNotFoundError:
        return all(LEFT.fullmatch(path.name) for path in folder.iterdir())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def json_bytes(value: Any) -> bytes:
    """JSON as ilk writes it: ASCII, so that any file name survives."""
    return (json.dumps(value, indent=1) + "\n").encode()
