"""What is saved: arrays in safetensors, everything else in JSON, and a check on both.

A part (a model, a calibration, a detector) is a dataclass of arrays and plain values; its arrays
are stored as `part.field`, the rest under `parts` in `model.json`. Nothing is ever unpickled, and
only dataclasses of ilk's own rooms are made. The digests find a file that was altered or mixed up;
they are no signature: whoever can write the folder can also write the digest.
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
VERSION = 1
ROOMS = re.compile(r"ilk\.(models|methods\.\w+|trust\.\w+)")
PLAIN = (bool, int, float, str, type(None))
WEIGHTS, ABOUT = "model.safetensors", "model.json"


def pack(parts: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """Parts as safetensors bytes and a JSON-ready description."""
    arrays: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for name, part in parts.items():
        plain: dict[str, Any] = {}
        for f in fields(part):
            value = getattr(part, f.name)
            if isinstance(value, np.ndarray):
                arrays[f"{name}.{f.name}"] = np.ascontiguousarray(value)
            elif isinstance(value, PLAIN):
                plain[f.name] = value
            else:
                raise TypeError(f"{type(part).__name__}.{f.name} is neither array nor plain value")
        told[name] = {"form": f"{type(part).__module__}:{type(part).__name__}", **plain}
    return save_tensors(arrays, {"format": FORMAT}), told


def unpack(weights: bytes, told: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that `pack` was given.

    Raises:
        ArtefactError: A form is not one of ilk's own, or its fields do not fit.
    """
    try:
        arrays = load_tensors(weights)
    except SafetensorError as error:
        raise ArtefactError(f"{WEIGHTS} is not a safetensors file: {error}") from None
    parts = {}
    for name, entry in told.items():
        given = {key: value for key, value in entry.items() if key != "form"}
        given |= {
            key.removeprefix(f"{name}."): value
            for key, value in arrays.items()
            if key.startswith(f"{name}.")
        }
        try:
            parts[name] = _form(entry["form"])(**given)
        except (TypeError, ValueError, KeyError) as error:
            raise ArtefactError(f"the part {name!r} of this model does not fit: {error}") from None
    return parts


def _form(address: str) -> Any:
    room, _, name = address.partition(":")
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
    """Write both files, the description last, each whole or not at all."""
    told: dict[str, Any] = {"format": FORMAT, "version": VERSION, **about}
    told["weights"] = {"file": WEIGHTS, "sha256": hashlib.sha256(weights).hexdigest()}
    told = json.loads(json.dumps(told))
    told["digest"] = digest(told)
    write_file(folder / WEIGHTS, weights)
    write_file(folder / ABOUT, (json.dumps(told, indent=1) + "\n").encode())


def read(folder: Path) -> tuple[bytes, dict[str, Any]]:
    """Both files of a model folder, checked against each other.

    Raises:
        ArtefactError: It is no model folder, was made by a newer ilk, or was altered.
    """
    try:
        text, weights = (folder / ABOUT).read_bytes(), (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise ArtefactError(
            f"{folder} is no model folder of ilk ({Path(str(error.filename)).name}: "
            f"{error.strerror}); make one with: ilk fit DIR --out {folder}"
        ) from None
    try:
        about = json.loads(text)
        kind, version = about["format"], int(about["version"])
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
    if about["weights"]["sha256"] != hashlib.sha256(weights).hexdigest():
        raise ArtefactError(
            f"{folder / WEIGHTS} is not the file that {ABOUT} was written for; fit the model again"
        )
    return weights, about


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
