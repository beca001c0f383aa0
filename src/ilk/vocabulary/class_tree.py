"""Trees of class names: how many branches, or how much of their length, lie between two of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.errors import InputError

_TOKEN = re.compile(r"\s*(?:\[[^\]]*\]\s*)*('(?:[^']|'')*'|[(),;:]|[^(),;:'\[\]]+)?")
NEWICK_SIGNS = frozenset("(),;:")
MAX_DEPTH = 200  # of nested JSON


@dataclass(frozen=True)
class ClassTree:
    """A rooted tree; its leaves are classes, and so may its inner nodes be.

    Attributes:
        names: Name of each node, "" for one without.
        parents: Position of the parent of each node, before the node itself; -1 for a root.
        lengths: Length of the branch above each node, >= 0.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    lengths: tuple[float, ...]

    @property
    def is_leaf(self) -> NDArray[np.bool_]:
        """Whether a node has no children, `[m]`."""
        return ~np.isin(np.arange(len(self.names)), self.parents)

    def compute_distances(self, nodes: Sequence[int]) -> NDArray[np.float64]:
        """Return the length of the path between any two of `nodes`, all different, `[k, k]`.

        It is the depth of both less twice that of the deepest node above both.
        """
        depth = list(self.lengths)  # Python's numbers overflow to infinity
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                depth[node] += depth[parent]
        shared = np.zeros((len(nodes), len(nodes)))
        below: list[list[int]] = [[] for _ in self.names]  # rows of `nodes` at a node or below it
        for row, node in enumerate(nodes):
            below[node].append(row)
            shared[row, row] = depth[node]
        for node in range(len(self.names) - 1, 0, -1):  # children before their parents
            rows, parent = below[node], self.parents[node]
            if not rows:
                continue
            if others := below[parent]:
                shared[np.ix_(others, rows)] = depth[parent]
                shared[np.ix_(rows, others)] = depth[parent]
            few, many = sorted((others, rows), key=len)
            below[parent], below[node] = many, []
            many += few
        own = np.diag(shared)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(np.maximum(own[:, None] + own - 2 * shared, 0.0))


def parse_newick(text: str) -> ClassTree:
    """Parse a tree in Newick's format, such as `((cat,dog)pet,(car,bus:2));`.

    Branches without a length have length 1. Names with blanks or signs stand in single quotes, of
    which two are one; comments in brackets are skipped.

    Raises:
        InputError: It is not such a tree; the message says what is wrong.
    """
    names, parents, lengths = [""], [-1], [1.0]
    node, may_be_named, has_length, seen_end = 0, True, False, False
    tokens = list(_split_newick(text))
    if not tokens or tokens[0] != "(":
        raise InputError("a tree in Newick's format starts with a parenthesis, as in ((a,b),c);")
    for i, token in enumerate(tokens):
        if seen_end:
            raise InputError(f"there is {token!r} after the end of the tree")
        if token in "(,":
            if token == "," and parents[node] < 0:
                raise InputError("a comma stands outside all parentheses")
            if token == "(" and tokens[i - 1 : i] and tokens[i - 1] not in "(,":
                raise InputError("a parenthesis opens after a name; a comma is missing")
            names.append("")
            parents.append(node if token == "(" else parents[node])
            lengths.append(1.0)
            node, may_be_named, has_length = len(names) - 1, True, False
        elif token == ")":
            if parents[node] < 0:
                raise InputError("a parenthesis closes that was never opened")
            node, may_be_named, has_length = parents[node], True, False
        elif token == ";":
            seen_end = True
        elif token == ":":
            if has_length:
                raise InputError("a branch has two lengths; a comma is missing")
            if tokens[i + 1 : i + 2] and tokens[i + 1] in NEWICK_SIGNS:
                raise InputError(f"there is {tokens[i + 1]!r} where a length is expected")
            has_length = True
        elif tokens[i - 1] == ":":
            lengths[node] = _parse_length(token)
        elif not may_be_named:
            raise InputError(f"a node has two names, {names[node]!r} and {token!r}; a comma is "
                             "missing, or a name with signs needs quotes")  # fmt: skip
        else:
            names[node], may_be_named = _unquote(token), False
    if parents[node] >= 0:
        raise InputError("a parenthesis is not closed")
    return ClassTree(tuple(names), tuple(parents), tuple(lengths))


def _split_newick(text: str) -> Iterator[str]:
    position, text = 0, text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        token = (match[1] or "").strip() if match else ""
        if match is None or match.end() == position:
            raise InputError(
                f"there is a quote or a bracket without its end at {text[position:][:20]!r}"
            )
        position = match.end()
        if token:
            yield token


def _unquote(token: str) -> str:
    return token[1:-1].replace("''", "'") if token.startswith("'") else token


def _parse_length(token: str) -> float:
    try:
        length = float(token)
    except ValueError:
        length = -1.0
    if not 0 <= length < np.inf:
        raise InputError(f"{token!r} is not a branch length; give a number of at least 0")
    return length


def parse_nested(value: Any) -> ClassTree:
    """Parse a tree of nested objects and lists, such as `{"pet": ["cat", "dog"], "car": null}`.

    Keys of objects are names of nodes, whose values are what lies below; text is a leaf.

    Raises:
        InputError: It holds something else, or is too deep.
    """
    names, parents = [""], [-1]

    def add(name: str, parent: int) -> int:
        names.append(name)
        parents.append(parent)
        return len(names) - 1

    def walk(item: Any, parent: int, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise InputError(f"the tree is more than {MAX_DEPTH} levels deep")
        if isinstance(item, Mapping):
            for name, below in item.items():
                walk(below, add(str(name), parent), depth + 1)
        elif isinstance(item, list):
            for below in item:
                node = parent if isinstance(below, str | Mapping) else add("", parent)
                walk(below, node, depth + 1)
        elif isinstance(item, str | int | float) and not isinstance(item, bool):
            add(str(item), parent)
        elif item is not None:
            raise InputError(f"the tree holds {item!r}; give names, lists and objects of them")

    walk(value, 0, 0)
    return ClassTree(tuple(names), tuple(parents), (1.0,) * len(names))


def build_tree(parent_of: Mapping[str, str]) -> ClassTree:
    """Build the tree in which each name of `parent_of` lies below another; "" has no parent.

    Raises:
        InputError: A name lies below itself.
    """
    names, parents, position = [""], [-1], {"": 0}
    for start in parent_of:
        path = [start]
        while path[-1] not in position:
            path.append(parent_of.get(path[-1], ""))
            if path[-1] in path[:-1]:
                raise InputError(f"{path[-1]!r} lies below itself")
        for name, parent in zip(path[-2::-1], path[:0:-1], strict=True):
            position[name] = len(names)
            names.append(name)
            parents.append(position[parent])
    return ClassTree(tuple(names), tuple(parents), (1.0,) * len(names))
