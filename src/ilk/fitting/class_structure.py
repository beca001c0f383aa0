"""Which classes are similar, read from a file: a tree, angles, coordinates or distances.

The formats are those of `FORMATS`, the text that the help of `ilk fit` shows. A class that only the
file names has no image; methods with the tag `any_embedding_width` can predict it all the same.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.digested_json import refuse_constant
from ilk.core.errors import InputError
from ilk.images.annotations.spellings import match_class_names
from ilk.images.rows import escape_path
from ilk.images.tables.files import TABLE_SUFFIXES, read_any_table, read_text
from ilk.vocabulary.class_tree import ClassTree, build_tree, parse_nested, parse_newick

FORMATS = (
    "a tree in Newick's format (.nwk), as nested JSON, or as a CSV with the columns class and "
    "parent; a CSV with the columns class and angle, in degrees; a CSV with the column class and "
    "columns of coordinates; or a square CSV of distances with class names in the first row and "
    "column"
)
MAX_CLASSES = 5_000  # names in a file, whose distances take 200 MB
MIN_DISTANCE, MAX_DISTANCE = 1e-12, 1e12  # of the greatest distance, so that squares stay numbers
MAX_ASYMMETRY = 1e-6  # of distances, as a fraction of the largest

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ClassStructure:
    """Distances between named classes.

    Attributes:
        names: Names, `k` of them, without duplicates.
        distances: `[k, k]`, symmetric, at least 0, with 0 on the diagonal.
        is_inner: Whether a name is that of an inner node of a tree: a class only if it has images.
        file: Where it was read, for messages.
    """

    names: tuple[str, ...]
    distances: Matrix
    is_inner: NDArray[np.bool_]
    file: str

    def list_classes(self, labels: Sequence[str]) -> tuple[str, ...]:
        """Return the classes of images, and those that only the file names, sorted.

        Raises:
            InputError: The file lacks a class that has images, or names a class twice.
        """
        spelled = self._spell_as(labels)
        repeated = [name for name, n in Counter(spelled).items() if n > 1]
        if repeated:
            raise InputError(f"{self.file} names the class {repeated[0]!r} twice; keep one of them")
        if missing := [name for name in labels if name not in spelled]:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise InputError(
                f"{self.file} does not name the class {missing[0]!r}{more}, which has images; add "
                "it there, spelled as its folder or label is"
            )
        leaves = {name for name, inner in zip(spelled, self.is_inner, strict=True) if not inner}
        return tuple(sorted({*labels, *leaves}))

    def select(self, classes: Sequence[str]) -> NDArray[np.float32]:
        """Return the distances between `classes`, `[len(classes), len(classes)]`."""
        spelled = self._spell_as(classes)
        order = [spelled.index(name) for name in classes]
        return self.distances[np.ix_(order, order)].astype(np.float32)

    def _spell_as(self, classes: Sequence[str]) -> list[str]:
        """The names, those that mean one of `classes` spelled as it is."""
        matched = match_class_names(self.names, classes)
        return [matched.get(name, name) for name in self.names]


def read_class_structure(path: str) -> ClassStructure:
    """Read a file in one of `FORMATS`; the suffix decides between tables, JSON and Newick.

    Raises:
        InputError: It cannot be read, or is not such a file.
    """
    file, shown = Path(path), escape_path(path)
    try:
        if file.suffix.casefold() in TABLE_SUFFIXES:
            names, distances, is_inner = _read_table(file)
        else:
            text = read_text(file)
            is_json = file.suffix.casefold() == ".json"
            tree = parse_nested(_load_json(text)) if is_json else parse_newick(text)
            names, distances, is_inner = _measure_tree(tree)
        _check_distances(names, distances)
    except OSError as error:
        raise InputError(f"{shown} cannot be read: {error.strerror or error}") from error
    except (csv.Error, ValueError, RecursionError, InputError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise InputError(
            f"{shown} gives no structure of classes: {why}; the file is {FORMATS}"
        ) from error
    return ClassStructure(names, distances, is_inner, shown)


def _load_json(text: str) -> Any:
    def build_object(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if repeated := [key for key, n in Counter(key for key, _ in items).items() if n > 1]:
            raise InputError(f"it names {repeated[0]!r} twice")
        return dict(items)

    return json.loads(text, object_pairs_hook=build_object, parse_constant=refuse_constant)


Measured = tuple[tuple[str, ...], Matrix, NDArray[np.bool_]]


def _measure_tree(tree: ClassTree) -> Measured:
    is_leaf = tree.is_leaf
    nodes = [i for i, name in enumerate(tree.names) if name]
    if unnamed := int(np.sum(is_leaf & [not name for name in tree.names])):
        raise InputError(f"{unnamed} of its leaves {'has' if unnamed == 1 else 'have'} no name")
    names = tuple(tree.names[i] for i in nodes)
    _check_number(names)
    return names, tree.compute_distances(nodes), ~is_leaf[nodes]


def _read_table(file: Path) -> Measured:
    table = read_any_table(file)
    columns = [str(name).strip() for name in table.names]
    rows = [(n, [_to_text(cell) for cell in cells]) for n, cells in table.records]
    for number, cells in rows:
        if len(cells) != len(columns):
            raise InputError(f"line {number} has {len(cells)} cells and the first {len(columns)}")
    if not rows or len(columns) < 2:
        raise InputError("a table needs a column of class names, another column, and lines")
    names = tuple(cells[0] for _, cells in rows)
    header = [column.casefold() for column in columns[1:]]
    if header == ["parent"]:
        if repeated := [name for name, n in Counter(names).items() if n > 1]:
            raise InputError(f"{repeated[0]!r} has two parents")
        return _measure_tree(build_tree({cells[0]: cells[1] for _, cells in rows}))
    _check_number(names)
    values = np.array([[_to_number(c, number) for c in cells[1:]] for number, cells in rows])
    not_inner = np.zeros(len(names), bool)
    if sorted(columns[1:]) == sorted(names):
        order = [columns[1:].index(name) for name in names]
        return names, values[:, order], not_inner
    if header == ["angle"]:
        return names, measure_chords(values[:, 0]), not_inner
    if 2 * len(both := {*columns[1:]} & {*names}) > min(len(names), len(header)):
        different = sorted({*columns[1:], *names} - both) or [columns[1]]
        raise InputError(
            f"a square of distances names the same classes in its first row and column, each once; "
            f"{different[0]!r} differs"
        )
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        distances = [np.sqrt(np.sum((values - row) ** 2, axis=1)) for row in values]
    return names, np.array(distances), not_inner


def measure_chords(degrees: Matrix) -> Matrix:
    """Return the distances between k points of a circle of radius 1, `[k, k]`.

    The nearest class on average is then that of the mean direction, as circular statistics has it.
    With arcs, a little probability on the far side of the circle would turn it further.

    Args:
        degrees: Their angles, `[k]`.
    """
    return np.asarray(2 * np.abs(np.sin(np.radians(degrees[:, None] - degrees) / 2)))


def _to_text(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()


def _to_number(cell: str, line: int) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise InputError(f"line {line} holds {cell!r} where a number is expected")
    return value


def _check_number(names: Sequence[str]) -> None:
    if len(names) > MAX_CLASSES:
        raise InputError(f"it names {len(names):,} classes, and {MAX_CLASSES:,} are the most")


def _check_distances(names: Sequence[str], distances: Matrix) -> None:
    if repeated := [name for name, n in Counter(names).items() if n > 1]:
        raise InputError(f"it names {repeated[0]!r} twice")
    if "" in names:
        raise InputError("a class has no name")
    if len(names) < 2:
        raise InputError("it names fewer than two classes")
    if not np.isfinite(distances).all() or np.abs(distances).max() >= MAX_DISTANCE:
        raise InputError(
            f"a distance is {MAX_DISTANCE:g} or more; give them in a larger unit, such as divided "
            "by the greatest"
        )
    if distances.min() < 0:
        raise InputError(f"the distance {distances.min():g} is below 0")
    if np.diag(distances).any():
        name = names[int(np.flatnonzero(np.diag(distances))[0])]
        raise InputError(f"the distance of {name!r} from itself is not 0")
    i, j = divmod(int(np.abs(distances - distances.T).argmax()), len(names))
    if abs(distances[i, j] - distances[j, i]) > MAX_ASYMMETRY * distances.max():
        raise InputError(
            f"the distance from {names[i]!r} to {names[j]!r} is {distances[i, j]:g} and back "
            f"{distances[j, i]:g}"
        )
    if not distances.any():
        raise InputError("all distances are 0")
    if distances.max() < MIN_DISTANCE:
        raise InputError(
            f"all distances are below {MIN_DISTANCE:g}; give them in a smaller unit, such as "
            "divided by the greatest"
        )
