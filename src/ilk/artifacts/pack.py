"""Convert the parts of a model to arrays and plain values, and back.

A part (a model, a calibration, a detector) is a dataclass of arrays, plain values, other such
dataclasses and tuples of these. Its arrays are stored as `part.field` in the weights, everything
else under `parts` in `model.json`.

Every class that can be saved has a class variable `kind`, a string that is unique and never
changes. A saved model contains this string and no module or class name, so classes can be moved and
renamed. Nothing is unpickled, and only classes with a `kind` are instantiated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from ilk.artifacts.part_fields import check_part
from ilk.core.errors import ArtifactError
from ilk.core.registry import find_modules

PACKAGES = (  # in this order: most models need only the first two
    "ilk.core",
    "ilk.trust",
    "ilk.multilabel",
    "ilk.methods",
    "ilk.detectors",
    "ilk.discovery",
    "ilk.updates",
)
PLAIN_TYPES = (bool, int, float, str, type(None))


def pack(parts: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """Convert parts to the bytes of a safetensors file and a description for JSON.

    Raises:
        TypeError: A part has no `kind`, or a field that is neither array nor plain value nor part.
    """
    arrays: dict[str, Any] = {}
    descriptions = {name: _describe_part(name, part, arrays) for name, part in parts.items()}
    return save_tensors(arrays, {"format": "ilk"}), descriptions


def _describe_part(name: str, part: Any, arrays: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a part and add its arrays to `arrays`."""
    if not is_savable(type(part)):
        raise TypeError(f"{type(part).__name__} cannot be saved; it has no `kind`")
    plain: dict[str, Any] = {}
    for f in fields(part):
        value = getattr(part, f.name)
        if isinstance(value, np.ndarray):
            arrays[f"{name}.{f.name}"] = np.ascontiguousarray(value)
        elif isinstance(value, PLAIN_TYPES):
            plain[f.name] = value
        elif is_dataclass(value):
            plain[f.name] = _describe_part(f"{name}.{f.name}", value, arrays)
        elif isinstance(value, tuple) and all(map(is_dataclass, value)):
            plain[f.name] = [
                _describe_part(f"{name}.{f.name}.{i}", item, arrays) for i, item in enumerate(value)
            ]
        else:
            raise TypeError(f"{type(part).__name__}.{f.name} is neither array nor plain value")
    return {"kind": part.kind, **plain}


def unpack(weights: bytes, descriptions: Mapping[str, Any]) -> dict[str, Any]:
    """Restore the parts that were given to `pack`.

    Raises:
        ArtifactError: A kind is unknown, or the fields of a part are not those of its class: other
            names, types or shapes, or values that are not finite or out of bounds.
    """
    try:
        arrays = load_tensors(weights)
    except SafetensorError as error:
        raise ArtifactError(f"the weights are not a safetensors file: {error}") from None
    return {name: _build_part(name, entry, arrays) for name, entry in descriptions.items()}


def _build_part(name: str, entry: Any, arrays: Mapping[str, Any]) -> Any:
    if not isinstance(entry, dict):
        raise ArtifactError(f"the part {name!r} of this model is not described")
    field_values = {
        key: _build_value(f"{name}.{key}", value, arrays)
        for key, value in entry.items()
        if key != "kind"
    }
    for key, value in arrays.items():
        prefix, _, field_name = key.rpartition(".")
        if prefix == name:
            field_values[field_name] = value
    part_class = find_class(str(entry.get("kind")))
    try:
        part = part_class(**field_values)
        check_part(part, name)
        return part
    except (TypeError, ValueError) as error:
        raise ArtifactError(
            f"the part {name!r} of this model cannot be restored: {error}"
        ) from None


def _build_value(name: str, value: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return tuple(_build_part(f"{name}.{i}", item, arrays) for i, item in enumerate(value))
    return _build_part(name, value, arrays) if isinstance(value, dict) else value


def is_savable(part_class: type) -> bool:
    """Return whether a class is a dataclass with a `kind` of its own."""
    return is_dataclass(part_class) and isinstance(vars(part_class).get("kind"), str)


def find_class(kind: str) -> type[Any]:
    """Return the class that has the given `kind`.

    Raises:
        ArtifactError: No class has it.
    """
    for package in PACKAGES:
        if part_class := list_savable(package).get(kind):
            return part_class
    raise ArtifactError(
        f"this model has a part of the unknown kind {kind!r}; "
        "it was probably saved by a newer ilk: update ilk to open it"
    )


@cache
def list_savable(package: str) -> dict[str, type[Any]]:
    """Return all classes with a `kind` in the modules of a package, by kind.

    Raises:
        ValueError: Two classes have the same kind.
    """
    classes: dict[str, type[Any]] = {}
    for module in find_modules(package).values():
        for value in vars(module).values():
            is_own = isinstance(value, type) and value.__module__ == module.__name__
            if is_own and is_savable(value):
                if value.kind in classes:
                    raise ValueError(f"two classes of {package} have the kind {value.kind!r}")
                classes[value.kind] = value
    return classes
