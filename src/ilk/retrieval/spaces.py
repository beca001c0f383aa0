"""Whether features of an encoder may be compared with those in an index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ilk.core.errors import InputError
from ilk.core.space import FeatureSpace

COMPATIBLE = "compatible_with"  # entry of an encoder's description: keys of older spaces


def check_space(space: FeatureSpace, encoder: Any, place: str) -> bool:
    """Check that features of an encoder may be compared with those of a space.

    They may if the space is that of the encoder, or if the encoder was trained to be compatible
    with it (`compatible_with` of its description).

    Args:
        space: Space of the rows of an index.
        encoder: The encoder of the queries.
        place: What the message calls the index.

    Returns:
        Whether the encoder is a newer one that is compatible.

    Raises:
        InputError: They may not be compared.
    """
    if encoder.space.key == space.key:
        return False
    if space.key in list_compatible(encoder) and encoder.space.dim == space.dim:
        return True
    raise InputError(
        f"{place} holds features of {space.name} and the query would be encoded by "
        f"{encoder.name}{_tell_apart(space, encoder)}; search with the same encoder, or build the "
        "index again in a new folder"
    )


def describe_update(space: FeatureSpace, encoder: Any, place: str) -> list[str]:
    """Return a note where the encoder is a newer one; checks and arguments as in `check_space`.

    Raises:
        InputError: The features may not be compared.
    """
    if not check_space(space, encoder, place):
        return []
    told = f"{place} holds features of {space.name}; the query is encoded by {encoder.name}"
    return [f"{told}, a compatible update"]


def list_compatible(encoder: Any) -> tuple[str, ...]:
    """Return the keys of the older spaces that an encoder's features may be compared with."""
    stated = getattr(encoder, COMPATIBLE, None)
    if stated is None:
        description: Mapping[str, Any] = encoder.describe()
        stated = description.get(COMPATIBLE, ())
    return tuple(map(str, stated or ()))


def _tell_apart(space: FeatureSpace, encoder: Any) -> str:
    is_same_name = space.name == encoder.name
    return ", whose weights, preprocessing or version differ" if is_same_name else ""
