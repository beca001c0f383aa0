"""`RowStream`: labelled rows that are read block by block, and the methods that learn from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from ilk.core.contracts import Model
from ilk.core.data import Features, Labels
from ilk.core.statistics import Statistics


@runtime_checkable
class RowStream(Protocol):
    """Labelled rows whose features need not fit in memory, `n` of them, with `d` features each.

    What is small is held: labels, groups, and the class statistics of each part of the rows, which
    are summed in one pass that all methods share.
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, `k` of them."""
        ...

    @property
    def y(self) -> Labels:
        """Class of each row, `[n]`, 0 to k - 1."""
        ...

    @property
    def group(self) -> Labels:
        """Group of each row, `[n]`; -1 is a group of its own."""
        ...

    @property
    def d(self) -> int:
        """Number of features."""
        ...

    @property
    def memory(self) -> int:
        """Bytes that a method may hold at a time."""
        ...

    @property
    def parts(self) -> Sequence[Statistics]:
        """Statistics of disjoint parts of the rows, no group in two of them; together all rows."""
        ...

    @property
    def statistics(self) -> Statistics:
        """Counts, means and within-class scatter of all rows."""
        ...

    def iterate(self) -> Iterator[tuple[Labels, Features]]:
        """Yield positions `[b]` and features `[b, d]` of all rows, block by block, in order."""
        ...

    def take(self, rows: Labels) -> Features:
        """Return the features `[m, d]` of rows at `rows [m]`, ascending."""
        ...

    def note(self, text: str) -> None:
        """Keep a sentence on how the model that is fitted differs from one fitted in memory."""
        ...


@runtime_checkable
class FitsStream(Protocol):
    """A method that learns from rows that are read block by block."""

    def fit_stream(self, rows: RowStream, /) -> Model:
        """Return the model that `fit` would return for the same rows, or say how it differs.

        Raises:
            InputError: The method needs all rows in memory for these hyperparameters.
        """
        ...
