"""Check the parts of a model together, when they were read from a file.

`ilk.artifacts.part_fields` has checked each part. What remains is whether the parts are those that
the model needs, and whether they fit each other, the classes and the encoder: a model that was put
together from others answers one row of zeros here, and not wrongly later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def check_kinds(
    parts: Mapping[str, Any], kinds: Mapping[str, type[Any]], optional: set[str]
) -> None:
    """Check that a model has the parts it needs, each of its type.

    Args:
        parts: The parts by name; those that `kinds` does not name are not looked at.
        kinds: Type, or protocol, of each part.
        optional: Names of parts that may be missing.

    Raises:
        TypeError: A part is missing or of another type.
    """
    for name, kind in kinds.items():
        if name not in parts:
            if name not in optional:
                raise TypeError(f"the part {name!r} is missing")
        elif not isinstance(parts[name], kind):
            raise TypeError(f"the part {name!r} is a {type(parts[name]).__name__}")


def check_classes(classes: object) -> tuple[str, ...]:
    """Return class names as they stand in a description.

    Raises:
        TypeError: They are not a list of names.
        ValueError: There is none, or two are equal.
    """
    if not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        raise TypeError("the classes are not a list of names")
    if not classes or len(set(classes)) < len(classes):
        raise ValueError("there is no class, or two have the same name")
    return tuple(classes)


def check_answers(n_classes: int, **answers: Any) -> None:
    """Check what a model computes of one row of features.

    Args:
        n_classes: Number of classes, k.
        answers: Arrays by name, `[1, k]`, or `[1]` for a score.

    Raises:
        ValueError: A shape is another, or a value is not finite.
    """
    for name, answer in answers.items():
        array = np.asarray(answer)
        if array.shape not in ((1, n_classes), (1,)):
            raise ValueError(
                f"the {name} have the shape {list(array.shape)} for {n_classes} classes"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"the {name} are not finite")


def make_probe(width: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return one row of `width` zeros, as features."""
    return np.zeros((1, width), np.float32)
