"""What is saved: arrays in safetensors, everything else in JSON, and a check on both.

A part (a model, a calibration, a detector) is a dataclass of arrays and plain values; its arrays
are stored as `part.field`, the rest under `parts` in `model.json`; a field may be such a dataclass
itself. Nothing is ever unpickled, and only dataclasses of ilk's own rooms are made. The digests
find a file that was altered or mixed up; they are no signature: whoever can write the folder can
also write the digest.

Version 2 (what `ilk.trust.kept` keeps, parts within parts, weights under another name) reads all
that version 1 wrote.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from ilk.errors import ArtefactError, OutputError

FORMAT = "ilk classifier"
VERSION = 2
ROOMS = re.compile(r"ilk\.(models|training\.continual|living\.widened|methods\.\w+|trust\.\w+)")
MOVED = {"ilk.continual": "ilk.training.continual", "ilk.widened": "ilk.living.widened"}
PLAIN = (bool, int, float, str, type(None))
WEIGHTS, ABOUT = "model.safetensors", "model.json"
STORED = re.compile(r"model(-[0-9a-f]{8})?\.safetensors")  # names that weights may have


def pack(parts: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """Parts as safetensors bytes and a JSON-ready description."""
    arrays: dict[str, Any] = {}
    told = {name: _told(name, part, arrays) for name, part in parts.items()}
    return save_tensors(arrays, {"format": FORMAT}), told


def _told(name: str, part: Any, arrays: dict[str, Any]) -> dict[str, Any]:
    """What a part's description says; its arrays go to `arrays` under `name.field`."""
    plain: dict[str, Any] = {}
    for f in fields(part):
        value = getattr(part, f.name)
        if isinstance(value, np.ndarray):
            arrays[f"{name}.{f.name}"] = np.ascontiguousarray(value)
        elif isinstance(value, PLAIN):
            plain[f.name] = value
        elif is_dataclass(value):
            plain[f.name] = _told(f"{name}.{f.name}", value, arrays)
        else:
            raise TypeError(f"{type(part).__name__}.{f.name} is neither array nor plain value")
    return {"form": f"{type(part).__module__}:{type(part).__name__}", **plain}


def unpack(weights: bytes, told: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that `pack` was given.

    Raises:
        ArtefactError: A form is not one of ilk's own, or its fields do not fit.
    """
    try:
        arrays = load_tensors(weights)
    except SafetensorError as error:
        raise ArtefactError(f"{WEIGHTS} is not a safetensors file: {error}") from None
    return {name: _made(name, entry, arrays) for name, entry in told.items()}


def _made(name: str, entry: Mapping[str, Any], arrays: Mapping[str, Any]) -> Any:
    given = {
        key: _made(f"{name}.{key}", value, arrays) if isinstance(value, dict) else value
        for key, value in entry.items()
        if key != "form"
    }
    for key, value in arrays.items():
        home, _, last = key.rpartition(".")
        if home == name:
            given[last] = value
    try:
        return _form(entry["form"])(**given)
    except (TypeError, ValueError, KeyError) as error:
        raise ArtefactError(f"the part {name!r} of this model does not fit: {error}") from None


def _form(address: str) -> Any:
    room, _, name = address.partition(":")
    room = MOVED.get(room, room)
    if not ROOMS.fullmatch(room):
        raise ArtefactError(f"this model asks for {address!r}, which is no part of ilk")
    try:
        form = getattr(import_module(room), name)
    except (ImportError, AttributeError):
        raise ArtefactError(
            f"this model needs {address!r}, which this ilk does not have; update ilk"
        ) from None
    if not (isinstance(form, type) and is_dataclass(form)):
        raise ArtefactError(f"this model asks for {address!r}, which is no part of ilk")
    return form


def digest(about: Mapping[str, Any]) -> str:
    """SHA-256 of the description, its own `digest` entry left out."""
    bare = {key: value for key, value in about.items() if key != "digest"}
    return hashlib.sha256(json.dumps(bare, sort_keys=True).encode()).hexdigest()


def write(folder: Path, weights: bytes, about: Mapping[str, Any]) -> None:
    """Write both files, the description last, each whole or not at all.

    Until the description is there, the folder holds the model that it held before: other weights
    than those go beside them under a name of their own, and the old ones go last.
    """
    name = _free(folder, sha := hashlib.sha256(weights).hexdigest())
    told: dict[str, Any] = {"format": FORMAT, "version": VERSION, **about}
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


def read(folder: Path) -> tuple[bytes, dict[str, Any]]:
    """Both files of a model folder, checked against each other.

    Raises:
        ArtefactError: It is no model folder, was made by a newer ilk, or was altered.
    """
    try:
        about = json.loads((folder / ABOUT).read_bytes())
        kind, version = about["format"], int(about["version"])
    except OSError as error:
        raise _absent(folder, error) from None
    except (ValueError, KeyError, TypeError):
        raise ArtefactError(f"{folder / ABOUT} is not a description written by ilk") from None
    if kind != FORMAT:
        raise ArtefactError(f"{folder / ABOUT} describes a {kind!r}, not an {FORMAT!r}")
    if version > VERSION:
        raise ArtefactError(
            f"{folder} was made by a newer ilk (format {version}; this one reads up to {VERSION}); "
            "update ilk to open it"
        )
    if about.get("digest") != digest(about):
        raise ArtefactError(f"{folder / ABOUT} was altered after ilk wrote it; fit the model again")
    name = str(about["weights"]["file"])
    try:
        weights = (folder / (name if STORED.fullmatch(name) else WEIGHTS)).read_bytes()
    except OSError as error:
        raise _absent(folder, error) from None
    if about["weights"]["sha256"] != hashlib.sha256(weights).hexdigest():
        raise ArtefactError(
            f"{folder / name} is not the file that {ABOUT} was written for; fit the model again"
        )
    return weights, about


def _absent(folder: Path, error: OSError) -> ArtefactError:
    return ArtefactError(
        f"{folder} is no model folder of ilk ({Path(str(error.filename)).name}: "
        f"{error.strerror}); make one with: ilk fit DIR --out {folder}"
    )


def write_file(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there, so that no half file is ever seen.

    Raises:
        OutputError: The folder cannot be written or the disk is full.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(
            f"cannot write {path}: {error.strerror}; name another folder or file with --out"
        ) from error


def claim(folder: Path) -> Path:
    """Make sure that a model can be written to `folder`, before any work is done.

    Raises:
        OutputError: It cannot be written, or holds something other than a model of ilk.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = any(folder.iterdir()) and not (folder / ABOUT).exists()
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror}; name another folder with --out"
        ) from error
    if foreign:
        raise OutputError(
            f"{folder} holds files that are no model of ilk; name an empty folder with --out"
        )
    trial = folder / f".{os.getpid()}.trial"
    write_file(trial, b"")
    trial.unlink()
    return folder


def json_bytes(value: Any) -> bytes:
    """JSON as ilk writes it: ASCII, so that any file name survives."""
    return (json.dumps(value, indent=1) + "\n").encode()
