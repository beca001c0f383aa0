"""Parts of a model as arrays and plain values, and back.

A part (a model, a calibration, a detector) is a dataclass of arrays and plain values; its arrays
are stored as `part.field`, the rest under `parts` in `model.json`; a field may be such a dataclass
itself. Nothing is ever unpickled, and only dataclasses of ilk's own rooms are made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from ilk.errors import ArtefactError

ROOMS = re.compile(r"ilk\.(models|training\.continual|living\.widened|methods\.\w+|trust\.\w+)")
MOVED = {"ilk.continual": "ilk.training.continual", "ilk.widened": "ilk.living.widened"}
PLAIN = (bool, int, float, str, type(None))


def pack(parts: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """Parts as safetensors bytes and a JSON-ready description."""
    arrays: dict[str, Any] = {}
    told = {name: _told(name, part, arrays) for name, part in parts.items()}
    return save_tensors(arrays, {"format": "ilk"}), told


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
        raise ArtefactError(f"the weights are not a safetensors file: {error}") from None
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
