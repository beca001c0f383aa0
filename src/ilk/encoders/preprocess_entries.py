"""A network's preprocessing, as the description of its folder holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from PIL.Image import Resampling

from ilk.core.typed_values import check_type
from ilk.hub.preprocessing import Preprocess

MAX_SIDE = 65536  # of an input in pixels, and number of features
MAX_VALUE = 1e6  # of what pixels are normalized with


@dataclass(frozen=True)
class _Preprocess:
    """Entries of `preprocess`."""

    size: list[int]
    scale: list[int]
    fit: Literal["short", "cover", "squash", "contain"]
    interpolation: str
    mean: list[float]
    std: list[float]
    fill: list[int]
    crop: Literal["round", "floor"]
    factor: float | None


def parse_preprocess(entries: Mapping[str, Any]) -> Preprocess:
    """Return the preprocessing whose `to_json` returned `entries`.

    Raises:
        TypeError, ValueError: It is none.
    """
    check_type(dict(entries), _Preprocess, "preprocess")
    lengths = {"size": 2, "scale": 2, "mean": 3, "std": 3, "fill": 3}
    for name, length in lengths.items():
        if len(entries[name]) != length:
            raise ValueError(f"preprocess.{name} has {len(entries[name])} values, not {length}")
    sides = [*entries["size"], *entries["scale"]]
    if not all(1 <= side <= MAX_SIDE for side in sides) or not all(entries["std"]):
        raise ValueError("a value of preprocess is out of range")
    numbers = [*entries["mean"], *entries["std"], entries["factor"] or 0.0]
    if not all(abs(number) <= MAX_VALUE for number in numbers):
        raise ValueError("a value of preprocess is out of range")
    if not all(0 <= value <= 255 for value in entries["fill"]):
        raise ValueError("preprocess.fill is not a colour")
    if entries["interpolation"].upper() not in Resampling.__members__:
        raise ValueError(f"preprocess.interpolation is {entries['interpolation']!r}")
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entries.items()}
    return Preprocess(**plain)
