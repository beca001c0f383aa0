"""`Data`: n items and all that is known of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.errors import InputError, UnknownName

Features = NDArray[np.float32]  # [n, d]
Labels = NDArray[np.int64]  # [n], -1 where unknown
Logits = NDArray[np.floating[Any]]  # [n, k], higher is likelier

UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class Data:
    """Items, their labels where there are any, and the classes they may belong to.

    Immutable: the arrays are made read-only, and every verb gives a new `Data`.

    Attributes:
        x: Features or pixels, `[n, ...]`, finite.
        y: Class index of each item, `[n]` int64, -1 where unknown.
        classes: The names that `y` points into.
        domain: Where an item comes from, `[n]` int64 (camera, site); all 0 when not told.
        bag: Which items belong together, `[n]` int64; each item its own bag when not told.
        hints: What is known of the classes beforehand, `[k, h]` (text embeddings, attributes).
        pool: Text embeddings of sentences that describe and belong to no class, `[m, h]`.

    Raises:
        ValueError: Where a length or a range does not fit, naming both.
        InputError: Some of `x` are not finite, naming the first such item.
    """

    x: NDArray[Any]
    y: Labels
    classes: tuple[str, ...]
    domain: Labels = field(default=None)  # type: ignore[arg-type]
    bag: Labels = field(default=None)  # type: ignore[arg-type]
    hints: Features | None = None
    pool: Features | None = None

    def __post_init__(self) -> None:
        n = len(self.x)

        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("x", np.asarray(self.x))
        put("classes", tuple(self.classes))
        put("domain", np.zeros(n, np.int64) if self.domain is None else self.domain)
        put("bag", np.arange(n) if self.bag is None else self.bag)
        _finite(self.x)
        if len(set(self.classes)) < self.k:
            raise ValueError(f"a class is named twice in {self.classes}")
        for name in ("y", "domain", "bag"):
            put(name, _whole(name, getattr(self, name)))
            if (got := getattr(self, name).shape) != (n,):
                raise ValueError(f"{name} has shape {got}; {n} items need ({n},)")
        if n and not (self.y.min() >= UNKNOWN and self.y.max() < self.k):
            raise ValueError(
                f"labels run from {self.y.min()} to {self.y.max()}; "
                f"{self.k} classes allow -1 (unknown) to {self.k - 1}"
            )
        if self.hints is not None and len(self.hints) != self.k:
            raise ValueError(f"{len(self.hints)} hints for {self.k} classes")
        for f in fields(self):
            if isinstance(value := getattr(self, f.name), np.ndarray):
                view = value.view()
                view.flags.writeable = False
                put(f.name, view)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def k(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def counts(self) -> Labels:
        """Labelled items of each class, `[k]`."""
        return np.bincount(self.y[self.y >= 0], minlength=self.k).astype(np.int64)

    def rows(self, index: NDArray[Any] | Sequence[int]) -> Data:
        """The items at `index` (positions or a mask), in that order."""
        at = np.asarray(index)
        at = at if at.dtype == bool else at.astype(np.int64)
        return replace(self, x=self.x[at], y=self.y[at], domain=self.domain[at], bag=self.bag[at])

    def labelled(self) -> Data:
        """The items whose class is known."""
        return self.rows(self.y >= 0)

    def unlabelled(self) -> Data:
        """The items whose class is not known."""
        return self.rows(self.y < 0)

    def only(self, classes: Iterable[str]) -> Data:
        """The labelled items of `classes`; the class list itself stays as it is.

        Raises:
            UnknownName: There is no such class.
        """
        wanted = list(classes)
        for name in wanted:
            if name not in self.classes:
                raise UnknownName("class", name, self.classes)
        keep = [self.classes.index(name) for name in wanted]
        return self.rows(np.isin(self.y, keep))

    def concat(self, other: Data) -> Data:
        """These items, then the other's; both must know the same classes."""
        if self.classes != other.classes:
            raise ValueError(f"classes differ: {self.classes} and {other.classes}")
        return replace(
            self,
            x=np.concatenate([self.x, other.x]),
            y=np.concatenate([self.y, other.y]),
            domain=np.concatenate([self.domain, other.domain]),
            bag=np.concatenate([self.bag, other.bag]),
        )


def _finite(x: NDArray[Any]) -> None:
    if x.dtype.kind != "f":
        return
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(x.sum(dtype=np.float64)):  # a pass without a copy
            return
    odd = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(1))
    if len(odd):
        raise InputError(
            f"the features of item {odd[0]} are not all finite ({len(odd):,} such items in all); "
            "take another encoder or precision, or leave these out"
        )


def _whole(name: str, values: Any) -> Labels:
    """`values` as int64, refused where rounding would change one."""
    given = np.asarray(values)
    whole = given.astype(np.int64)
    if not np.array_equal(whole, given):
        odd = given[whole != given][0]
        raise ValueError(f"{name} holds {odd}, which is not a whole number")
    return whole


def one_hot(y: Labels, k: int, dtype: Any = np.float64) -> NDArray[Any]:
    """Membership matrix `[n, k]`; a row of zeros where the label is unknown."""
    members = np.zeros((len(y), k), dtype)
    known = y >= 0
    members[np.flatnonzero(known), y[known]] = 1
    return members
