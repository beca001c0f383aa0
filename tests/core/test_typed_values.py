"""Values from files are compared with annotations, and a message names the entry that differs."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

import pytest

from ilk.core.typed_values import check_type


@dataclass
class Point:
    x: float
    y: float = 0.0


class Entry(TypedDict):
    name: str
    points: list[Point]
    size: NotRequired[tuple[int, int]]
    kind: NotRequired[Literal["a", "b"]]
    counts: NotRequired[dict[str, int] | None]


RIGHT: dict[str, Any] = {"name": "n", "points": [{"x": 1}, {"x": 0.5, "y": 2}]}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"size": [1, 2], "kind": "a", "counts": None},
        {"counts": {"cat": 3}},
        {"unknown to this version": [{}]},
    ],
)
def test_a_right_value_passes(more: dict[str, Any]) -> None:
    check_type({**RIGHT, **more}, Entry, "")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"name": 1}, "name is 1 instead of a text"),
        ({"name": None}, "name is None instead of a text"),
        ({"points": {}}, "points is an object instead of a list"),
        ({"points": [{"y": 1}]}, r"points\[0\].x is missing"),
        ({"points": [{"x": "1"}]}, r"points\[0\].x is '1' instead of a finite number"),
        ({"points": [{"x": True}]}, r"points\[0\].x is True instead of a finite number"),
        ({"points": [{"x": math.inf}]}, "instead of a finite number"),
        ({"points": [{"x": math.nan}]}, "instead of a finite number"),
        ({"points": [{"x": 10**400}]}, r"a number beyond 2\^53 instead of a finite number"),
        ({"points": [{"x": 1, "z": 2}]}, r"points\[0\] has an entry 'z' that it cannot have"),
        ({"size": [1, 2, 3]}, "size has 3 entries instead of 2"),
        ({"size": [1, 2.5]}, r"size\[1\] is 2.5 instead of a whole number"),
        ({"kind": "c"}, "kind is 'c' instead of 'a' or 'b'"),
        ({"kind": []}, "kind is a list instead of 'a' or 'b'"),
        ({"counts": {"cat": -0.5}}, "counts.cat is -0.5 instead of a whole number"),
        ({"name": ["x" * 99]}, "name is a list instead of a text"),
    ],
)
def test_a_wrong_value_is_named(more: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        check_type({**RIGHT, **more}, Entry, "")


def test_nothing_of_json_ends_otherwise() -> None:
    values = [None, True, 1, 0.5, "a", [], {}, [[]], {"x": 1}, [1, 2], ["a"], json.loads("1e400")]
    for hint in (Entry, Point, list[int], tuple[int, ...], dict[str, float], int | None):
        for value in values:
            try:
                check_type(value, hint, "place")
            except TypeError as error:
                assert str(error).startswith("place")  # noqa: PT017
