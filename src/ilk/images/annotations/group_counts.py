"""How many groups there are, how many images each has, and what is said about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.images.annotations.groups import UNGROUPED
from ilk.images.rows import Row, escape_path


@dataclass(frozen=True)
class GroupCounts:
    """Number and sizes of the groups of used images.

    Attributes:
        n_images: Number of images, with a group or without.
        n_groups: Number of groups; an image without a group is one of its own.
        n_ungrouped: Number of images without a group.
        largest: Name of the largest group.
        largest_size: Number of its images.
        example: Path of an image without a group, "" if all have one.
    """

    n_images: int
    n_groups: int
    n_ungrouped: int
    largest: str
    largest_size: int
    example: str = ""

    @property
    def has_several(self) -> bool:
        """Whether any group has several images."""
        return self.largest_size > 1

    def describe(self) -> list[str]:
        """Return what the reader should know, in sentences."""
        groups = "1 group" if self.n_groups == 1 else f"{self.n_groups:,} groups"
        first = f"{self.n_images:,} images of {groups}; folds and intervals keep a group together"
        if not self.has_several:
            first = (
                f"every one of the {self.n_groups:,} groups has a single image, so the groups "
                "change nothing"
            )
        if not self.n_ungrouped:
            return [first]
        shown = escape_path(self.example)
        if self.n_ungrouped == 1:
            return [first, f"1 image has no group and is a group of its own: {shown}"]
        many = f"{self.n_ungrouped:,} images have no group and are groups of their own"
        return [first, f"{many}, for example {shown}"]


def number_row_groups(rows: Sequence[Row]) -> NDArray[np.int64]:
    """Return a number for the group of each row, `[n]`, from 0; -1 for a row without a group."""
    names = {name: i for i, name in enumerate(sorted({r.group for r in rows if r.group}))}
    return np.array([names[r.group] if r.group else UNGROUPED for r in rows], np.int64)


def count_groups(rows: Sequence[Row]) -> GroupCounts | None:
    """Return number and sizes of the groups of rows; None if no row has a group."""
    sizes = Counter(row.group for row in rows if row.group)
    if not sizes:
        return None
    largest, size = min(sizes.items(), key=lambda item: (-item[1], item[0]))
    single = [row for row in rows if not row.group]
    example = single[0].path if single else ""
    return GroupCounts(len(rows), len(sizes) + len(single), len(single), largest, size, example)


def describe_groups(rows: Sequence[Row]) -> list[str]:
    """Return how many groups the rows have, in sentences; empty if no row has one."""
    counts = count_groups(rows)
    return counts.describe() if counts else []
