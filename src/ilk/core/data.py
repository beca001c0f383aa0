"""`Data`: n rows (images or feature vectors) and everything known about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.errors import InputError, UnknownName
from ilk.core.row_fields import convert_row_fields, per_row, row_field_names

Features = NDArray[np.float32]  # [n, d]
Labels = NDArray[np.int64]  # [n], -1 where unknown
Logits = NDArray[np.floating[Any]]  # [n, k], higher is more likely
Weights = NDArray[np.float64]  # [n], at least 0

UNLABELLED = -1
UNGROUPED = -1
NO_CLASS_KNOWLEDGE: dict[str, Any] = {  # for `replace` with other classes
    "class_embeddings": None,
    "class_distances": None,
    "class_model": None,
}


_FILL_IN: Any = None  # replaced on construction by the default of the field's metadata


@dataclass(frozen=True, eq=False)
class Data:
    """Rows, their labels where known, and the classes they may belong to.

    Immutable: the arrays are read-only, and every method returns a new `Data`.

    Attributes:
        x: Features or pixels, `[n, ...]`, finite.
        y: Class index of each row, `[n]` int64, -1 where unknown.
        classes: Class names; `y` indexes into them.
        domain: Domain of each row (camera, site), `[n]` int64; all 0 by default.
        bag: Bag of each row, `[n]` int64, for labels given to sets of rows; by default each row is
            its own bag.
        class_embeddings: Prior knowledge about the classes, `[k, h]` (text embeddings, attributes).
        description_embeddings: Text embeddings of descriptions not tied to any class, `[m, h]`.
        class_model: A model that tells the classes apart before any label is seen, from the encoder
            of the rows; None where the encoder does not know the classes.
        group: Group of each row, `[n]` int64: rows of one group (a patient, a scene, a video) never
            lie in two folds. -1, the default, makes the row a group of its own.
        weight: How many times each row counts, `[n]` float64, >= 0 and finite; 1 by default. A row
            of weight 2 counts as two rows, one of weight 0 as none.
        class_distances: Distances between the classes, `[k, k]`, at least 0, if they are known from
            something other than embeddings, such as a tree or positions on a circle.

    Raises:
        ValueError: If a length or a range does not fit; the message names both.
        InputError: If `x` is not finite; the message names the first such row.
    """

    x: NDArray[Any] = field(metadata=per_row())
    y: Labels = field(metadata=per_row(np.int64))
    classes: tuple[str, ...]
    domain: Labels = field(
        default=_FILL_IN, metadata=per_row(np.int64, lambda n: np.zeros(n, np.int64))
    )
    bag: Labels = field(default=_FILL_IN, metadata=per_row(np.int64, np.arange))
    class_embeddings: Features | None = None
    description_embeddings: Features | None = None
    class_model: Any = None
    group: Labels = field(
        default=_FILL_IN, metadata=per_row(np.int64, lambda n: np.full(n, UNGROUPED))
    )
    weight: Weights = field(default=_FILL_IN, metadata=per_row(np.float64, np.ones))
    class_distances: Features | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", np.asarray(self.x))
        object.__setattr__(self, "classes", tuple(self.classes))
        _check_finite(self.x)
        if len(set(self.classes)) < self.k:
            raise ValueError(f"a class is named twice in {self.classes}")
        for name, value in convert_row_fields(self, len(self.x)).items():
            object.__setattr__(self, name, value)
        self._check_ranges()
        for f in fields(self):
            if isinstance(value := getattr(self, f.name), np.ndarray):
                view = value.view()
                view.flags.writeable = False
                object.__setattr__(self, f.name, view)

    def _check_ranges(self) -> None:
        if len(self) and not (self.y.min() >= UNLABELLED and self.y.max() < self.k):
            raise ValueError(
                f"labels run from {self.y.min()} to {self.y.max()}; "
                f"{self.k} classes allow -1 (unknown) to {self.k - 1}"
            )
        if len(self) and self.group.min() < UNGROUPED:
            raise ValueError(
                f"group holds {self.group.min()}; give numbers from 0, or -1 for a row on its own"
            )
        if not (np.isfinite(self.weight) & (self.weight >= 0)).all():
            bad = self.weight[~(np.isfinite(self.weight) & (self.weight >= 0))][0]
            raise ValueError(f"weight holds {bad}; weights must be finite and at least 0")
        if self.class_embeddings is not None and len(self.class_embeddings) != self.k:
            raise ValueError(f"{len(self.class_embeddings)} class embeddings for {self.k} classes")
        if (d := self.class_distances) is not None and np.shape(d) != (self.k, self.k):
            raise ValueError(f"class distances of shape {np.shape(d)} for {self.k} classes")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def k(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def sample_weight(self) -> Weights | None:
        """`weight [n]`, or None where every row counts once."""
        return self.weight if (self.weight != 1).any() else None

    def count_labels(self) -> Labels:
        """Return the number of labelled rows per class, `[k]` int64, whatever their weight."""
        return np.bincount(self.y[self.y >= 0], minlength=self.k).astype(np.int64)

    def sum_label_weights(self) -> NDArray[Any]:
        """Return the total weight of the labelled rows per class, `[k]`.

        int64 counts where every row counts once, else float64.
        """
        if self.sample_weight is None:
            return self.count_labels()
        is_labelled = self.y >= 0
        return np.bincount(self.y[is_labelled], self.weight[is_labelled], minlength=self.k)

    def take(self, index: NDArray[Any] | Sequence[int]) -> Data:
        """Return the rows at `index` (positions or a boolean mask `[n]`), in that order."""
        rows = np.asarray(index)
        rows = rows if rows.dtype == bool else rows.astype(np.int64)
        return replace(self, **{name: values[rows] for name, values in self._row_values().items()})

    def select_class_fields(self, class_ids: Labels) -> dict[str, Any]:
        """Return what is known about the classes `class_ids [m]` alone, by field, for `replace`.

        A class model tells all classes apart and is left out.
        """
        embeddings, distances = self.class_embeddings, self.class_distances
        return {
            "classes": tuple(self.classes[c] for c in class_ids),
            "class_embeddings": None if embeddings is None else embeddings[class_ids],
            "class_distances": None
            if distances is None
            else distances[np.ix_(class_ids, class_ids)],
            "class_model": None,
        }

    def take_labelled(self) -> Data:
        """Return the rows whose class is known."""
        return self.take(self.y >= 0)

    def take_unlabelled(self) -> Data:
        """Return the rows whose class is unknown."""
        return self.take(self.y < 0)

    def take_weighted(self) -> Data:
        """Return the rows with a positive weight."""
        return self if (self.weight > 0).all() else self.take(self.weight > 0)

    def take_classes(self, classes: Iterable[str]) -> Data:
        """Return the labelled rows of `classes`; the list of classes stays unchanged.

        Raises:
            UnknownName: If there is no such class.
        """
        names = list(classes)
        for name in names:
            if name not in self.classes:
                raise UnknownName("class", name, self.classes)
        class_ids = [self.classes.index(name) for name in names]
        return self.take(np.isin(self.y, class_ids))

    def concat(self, other: Data) -> Data:
        """Return these rows followed by those of `other`.

        Raises:
            ValueError: If the classes differ, or only one of the two has some per-row field.
        """
        if self.classes != other.classes:
            raise ValueError(f"classes differ: {self.classes} and {other.classes}")
        first, second = self._row_values(), other._row_values()
        if first.keys() != second.keys():
            raise ValueError(f"fields differ: {sorted(first)} and {sorted(second)}")
        both: dict[str, Any] = {name: np.concatenate([first[name], second[name]]) for name in first}
        return replace(self, **both)

    def _row_values(self) -> dict[str, Any]:
        """The values of every per-row field that is present, by name."""
        values = {name: getattr(self, name) for name in row_field_names(self)}
        return {name: value for name, value in values.items() if value is not None}


def _check_finite(x: NDArray[Any]) -> None:
    if x.dtype.kind != "f":
        return
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(x.sum(dtype=np.float64)):  # a pass without a copy
            return
    bad_rows = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(1))
    if len(bad_rows):
        raise InputError(
            f"the features of item {bad_rows[0]} are not all finite ({len(bad_rows):,} such items "
            "in all); use another encoder or precision, or remove these items"
        )


def one_hot(y: Labels, k: int, dtype: Any = np.float64) -> NDArray[Any]:
    """Return the one-hot encoding `[n, k]` of labels `[n]`; zeros where the label is -1."""
    targets = np.zeros((len(y), k), dtype)
    is_labelled = y >= 0
    targets[np.flatnonzero(is_labelled), y[is_labelled]] = 1
    return targets
