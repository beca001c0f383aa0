"""Rows of a shard folder as a `RowStream`: read block by block, their class statistics held."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features, Labels
from ilk.core.progress import Progress, silent_progress
from ilk.core.statistics import Statistics
from ilk.maths.streamed_statistics import StreamedStatistics, merge_parts


class FeatureSource(Protocol):
    """The part of `ilk.shards.features.ShardedFeatures` that is read."""

    @property
    def n(self) -> int:
        """Number of rows, those that cannot be used included."""

    @property
    def d(self) -> int:
        """Number of features."""

    def iterate(self) -> Iterator[tuple[Labels, Features]]:
        """Yield positions `[b]` and features `[b, d]`, block by block."""

    def take(self, positions: Labels) -> Features:
        """Return the features `[m, d]` of the rows at `positions [m]`."""


@runtime_checkable
class IteratesStored(Protocol):
    """A source that yields features as they are stored, float16 or float32, without a copy."""

    def iterate_stored(self) -> Iterator[tuple[Labels, NDArray[Any]]]:
        """Yield positions `[b]` and features `[b, d]`, each block valid until the next."""


@dataclass(frozen=True, eq=False)
class StreamedRows:
    """Labelled rows of a shard folder; see `ilk.core.row_stream.RowStream`.

    Attributes:
        source: The features.
        positions: Position of each row in the source, ascending, `[n]`.
        y: Class of each row, `[n]`.
        group: Group of each row, `[n]`; -1 is a group of its own.
        classes: Class names.
        part: Part of each row, `[n]`.
        part_statistics: Statistics of each part by its number.
        memory: Bytes that a method may hold.
        notes: Sentences of methods.
    """

    source: FeatureSource
    positions: Labels
    y: Labels
    group: Labels
    classes: tuple[str, ...]
    part: Labels
    part_statistics: dict[int, Statistics]
    memory: int
    notes: list[str] = field(default_factory=list)

    @property
    def d(self) -> int:
        """Number of features."""
        return self.source.d

    @property
    def parts(self) -> Sequence[Statistics]:
        """Statistics of the parts."""
        return tuple(self.part_statistics.values())

    @cached_property
    def statistics(self) -> Statistics:
        """Counts, means and within-class scatter of all rows."""
        return merge_parts(self.parts)

    @cached_property
    def _rank(self) -> Labels:
        """Position here of each row of the source, -1 for others."""
        return rank_positions(self.positions, self.source.n)

    def iterate(self) -> Iterator[tuple[Labels, Features]]:
        """Yield positions `[b]` among these rows and features `[b, d]`, block by block."""
        yield from _select(self.source.iterate(), self._rank)

    def iterate_stored(self) -> Iterator[tuple[Labels, NDArray[Any]]]:
        """Yield `[b]` and `[b, d]` with features as stored, each block valid until the next."""
        if isinstance(self.source, IteratesStored):
            yield from _select(self.source.iterate_stored(), self._rank)
        else:
            yield from self.iterate()

    def take(self, rows: Labels) -> Features:
        """Return the features `[m, d]` of rows at `rows [m]`."""
        return self.source.take(self.positions[rows])

    def note(self, text: str) -> None:
        """Keep a sentence."""
        self.notes.append(text)

    def without(self, excluded: Sequence[int]) -> StreamedRows:
        """Return the rows that are not of the parts `excluded`."""
        kept = ~np.isin(self.part, excluded)
        statistics = {p: s for p, s in self.part_statistics.items() if p not in excluded}
        return replace(
            self,
            positions=self.positions[kept],
            y=self.y[kept],
            group=self.group[kept],
            part=self.part[kept],
            part_statistics=statistics,
            notes=[],
        )


def stream_rows(
    source: FeatureSource,
    positions: Labels,
    y: Labels,
    group: Labels,
    classes: tuple[str, ...],
    part: Labels,
    memory: int,
    progress: Progress = silent_progress,
) -> StreamedRows:
    """Sum the statistics of rows in one pass, and return the rows as a stream.

    Args:
        source: The features.
        positions: Position of each row in the source, ascending, `[n]`.
        y: Class of each row, `[n]`.
        group: Group of each row, `[n]`; -1 is a group of its own.
        classes: Class names.
        part: Part of each row, `[n]`, from 0.
        memory: Bytes that a method may hold.
        progress: Reports the number of rows.

    Raises:
        InputError: A feature is not finite.
    """
    n_parts = int(part.max(initial=0)) + 1
    sums = StreamedStatistics(len(classes), source.d, n_parts)
    stream = StreamedRows(source, positions, y, group, classes, part, {}, memory)
    with progress("reading features", len(y)) as advance:
        for rows, x in stream.iterate_stored():
            sums.add(x, y[rows], part[rows])
            advance(len(rows))
    used = [p for p in range(n_parts) if sums.counts[p].any()]
    return replace(stream, part_statistics={p: sums.to_statistics(p) for p in used})


def rank_positions(positions: Labels, n: int) -> Labels:
    """Return where each of `n` rows stands among `positions [m]`, `[n]`; -1 where it does not."""
    rank = np.full(n, -1, np.int64)
    rank[positions] = np.arange(len(positions))
    return rank


def _select(
    blocks: Iterator[tuple[Labels, NDArray[Any]]], rank: Labels
) -> Iterator[tuple[Labels, NDArray[Any]]]:
    """Yield the rows of blocks whose rank is not -1, and their ranks.

    Args:
        blocks: Positions `[b]` and features `[b, d]`.
        rank: Rank of each row of the source, `[n]`.
    """
    for at, x in blocks:
        own = rank[at]
        kept = own >= 0
        if kept.all():
            yield own, x
        elif kept.any():
            yield own[kept], x[kept]


def score_streamed(
    source: FeatureSource,
    positions: Labels,
    score: Callable[[Labels, Features], None],
    progress: Progress = silent_progress,
    name: str = "scoring",
) -> None:
    """Call `score` with the ranks `[b]` and features `[b, d]` of rows, block by block.

    Args:
        source: The features.
        positions: Position of each row in the source, `[n]`.
        score: What is done with a block.
        progress: Reports the number of rows.
        name: Name of the operation in the report.
    """
    rank = rank_positions(positions, source.n)
    with progress(name, len(positions)) as advance:
        for rows, x in _select(source.iterate(), rank):
            score(rows, x)
            advance(len(rows))


def number_parts(fold: Labels, group: Labels) -> NDArray[np.int64]:
    """Return the part of each row, `[n]`, of F folds: what a fold leaves out is parts f and F + f.

    Rows that no fold tests are of part 2 F, unless they share a group with a row of fold f: they
    are then of part F + f, because a model that is tested on a group learns from none of it.

    Args:
        fold: Fold that tests each row, `[n]`, -1 for none; no group lies in two folds.
        group: Group of each row, `[n]`; -1 is a group of its own.
    """
    n_folds = int(fold.max(initial=-1)) + 1
    part = np.where(fold >= 0, fold, 2 * n_folds)
    idle = np.flatnonzero((fold < 0) & (group >= 0))
    tested = (fold >= 0) & (group >= 0)
    if len(idle) and tested.any():
        fold_of = np.full(int(group.max()) + 1, -1, np.int64)
        fold_of[group[tested]] = fold[tested]
        own = fold_of[group[idle]]
        part[idle[own >= 0]] = n_folds + own[own >= 0]
    return part.astype(np.int64)
