"""Damage and edits of saved files: what a bad disk, a bad copy or a curious person does to them."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Path_ = tuple[str | int, ...]  # keys and indices that lead to a value in JSON
DELETED = object()
DEEP = 200  # levels of a nested list that JSON can hold and Python can read
WRONG_VALUES: tuple[Any, ...] = (
    *(None, "text", "", -1, 0, 0.5, True, [], {}, [[1]], {"kind": "linear"}, 10**400, 2**63),
    *(math.nan, math.inf, -math.inf, -1e308, "x" * 300, [None], [-1, "a"], DELETED),
)


def damage(content: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Return the name of a random damage and the damaged content, which differs."""
    names = list(DAMAGES)
    while True:
        name = names[int(rng.integers(len(names)))]
        result = DAMAGES[name](content, rng)
        if result != content:
            return name, result


def _flip_bits(content: bytes, rng: np.random.Generator) -> bytes:
    out = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        if out:
            out[int(rng.integers(len(out)))] ^= 1 << int(rng.integers(8))
    return bytes(out)


def _cut_end(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(len(content) + 1))]


def _cut_start(content: bytes, rng: np.random.Generator) -> bytes:
    return content[int(rng.integers(len(content) + 1)) :]


def _swap_blocks(content: bytes, rng: np.random.Generator) -> bytes:
    if len(content) < 4:
        return content
    size = int(rng.integers(1, max(2, min(4096, len(content) // 2))))
    a, b = sorted(int(v) for v in rng.integers(0, len(content) - size + 1, 2))
    if b - a < size:
        return content
    first, second = content[a : a + size], content[b : b + size]
    return content[:a] + second + content[a + size : b] + first + content[b + size :]


def _make_hole(content: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(len(content) + 1))
    size = int(rng.integers(1, 513))
    return content[:start] + bytes(len(content[start : start + size])) + content[start + size :]


def _insert(content: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(content) + 1))
    return content[:at] + rng.bytes(int(rng.integers(1, 64))) + content[at:]


def _repeat_block(content: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(content) + 1))
    return content[:at] + content[at : at + 256] + content[at:]


DAMAGES: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "bits flipped": _flip_bits,
    "end cut off": _cut_end,
    "start cut off": _cut_start,
    "blocks swapped": _swap_blocks,
    "hole of zeros": _make_hole,
    "bytes inserted": _insert,
    "block repeated": _repeat_block,
}


def list_places(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Yield the path of every value inside a JSON value."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield (*path, key)
        yield from list_places(inner, (*path, key))


def read_place(value: Any, path: Path_) -> Any:
    """Return the value at `path`."""
    for key in path:
        value = value[key]
    return value


def edit(value: Any, path: Path_, new: Any) -> Any:
    """Return a copy of a JSON value with `new` at `path`; `DELETED` removes the entry."""
    edited = copy.deepcopy(value)
    target = read_place(edited, path[:-1])
    if new is DELETED:
        del target[path[-1]]
    else:
        target[path[-1]] = new
    return edited


def is_wrong(old: Any, new: Any) -> bool:
    """Whether `new` cannot stand where `old` stood: another type, or a number that is none.

    Another text, or another finite number of the same kind, may be what somebody meant: it is an
    edit of the model, not damage, and no digest without a key can tell.
    """
    if new is DELETED:
        return True
    if isinstance(new, float) and not math.isfinite(new):
        return True
    if isinstance(new, int) and abs(new) > 2**53:
        return True
    kinds = {type(old), type(new)}
    return type(old) is not type(new) and kinds != {int, float}


def nest(depth: int) -> Any:
    """Return a list nested `depth` levels deep."""
    out: Any = 1
    for _ in range(depth):
        out = [out]
    return out


def dump(value: Any) -> bytes:
    """Encode an edited description."""
    return (json.dumps(value, indent=1) + "\n").encode()
