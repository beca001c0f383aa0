"""`Collection`: images with features that an index is built of, read block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features, Labels
from ilk.core.space import FeatureSpace
from ilk.retrieval.entries import Entry

BLOCK = 8192  # rows that are read at a time


@dataclass(frozen=True, eq=False)
class Collection:
    """Images with features.

    Attributes:
        entries: The images, each content once.
        space: Feature space of the encoder.
        take: Returns the features `[m, d]` float32 of positions `[m]`.
        encoder: Description of the encoder; empty if unknown.
        source: The folder that they come from, absolute; "" for none.
        value_ranges: Black and white of images of more than 8 bits.
        reads_text: Whether the encoder reads text.
        notes: What there is to know about the images, one sentence each.
    """

    entries: Sequence[Entry]
    space: FeatureSpace
    take: Callable[[Labels], Features]
    encoder: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    value_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    reads_text: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.entries)

    def iterate(self, positions: Labels, block: int = BLOCK) -> Iterator[tuple[Labels, Features]]:
        """Yield positions `[b]` and their features `[b, d]`, in the order of `positions` `[m]`."""
        for start in range(0, len(positions), block):
            part = positions[start : start + block]
            yield part, self.take(part)

    def number_classes(self) -> tuple[Labels, list[str]]:
        """Return the class of each image, `[n]`, -1 without one or with several; and the names."""
        names = sorted({e.label for e in self.entries if len(e.names) == 1})
        number = {name: i for i, name in enumerate(names)}
        y = np.array([number.get(e.label, -1) for e in self.entries], np.int64)
        return y, names


def from_array(
    x: NDArray[Any], entries: Sequence[Entry], space: FeatureSpace, **more: Any
) -> Collection:
    """Return the collection of features `[n, d]` in memory.

    Args:
        x: Features, `[n, d]`.
        entries: The images, `n` of them.
        space: Feature space of the features.
        more: Further attributes of `Collection`.
    """

    def take(positions: Labels) -> Features:
        return np.asarray(x[positions], np.float32)

    return Collection(tuple(entries), space, take, **more)
