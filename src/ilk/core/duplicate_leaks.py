"""How much of an accuracy rests on copies of the same pictures, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ilk.core.metrics import Interval


@dataclass(frozen=True)
class LeakComparison:
    """The accuracy with copies of a picture on both sides, beside that without.

    Attributes:
        on: What is tested: "cross-validation", or the name of the held-out split.
        n_leaked: Number of tested images of which a copy is learned where copies may be on both
            sides.
        n_tested: Number of tested images.
        with_leaks: Accuracy with copies on both sides.
        without_leaks: Accuracy with the copies of a picture on one side; its interval counts
            groups of copies, not images.
        is_lower: Whether it is clearly lower without.
    """

    on: str
    n_leaked: int
    n_tested: int
    with_leaks: Interval
    without_leaks: Interval
    is_lower: bool

    def __str__(self) -> str:
        """Return both accuracies in one sentence."""
        where = (
            "in cross-validation" if self.on == "cross-validation" else f"on the {self.on} split"
        )
        end = "" if self.is_lower else ", which is not a clear difference"
        return (
            f"{where}, {self.n_leaked:,} of {self.n_tested:,} images have a copy among the "
            f"training images: the accuracy is {self.with_leaks} with these leaks and "
            f"{self.without_leaks} without{end}"
        )


@dataclass(frozen=True)
class DuplicateLeaks:
    """What `--group-from duplicates` found and what it changes.

    Attributes:
        n_groups: Number of groups of copies among the images.
        n_images: Number of images in them.
        n_refused: Number of training images that are not learned because the held-out split has a
            copy of them.
        encoder: Name of the encoder whose features were compared.
        false_matches: Number of wrong pairs that is to be expected among the groups, at most.
        comparisons: Accuracies with and without leaks.
    """

    n_groups: int
    n_images: int
    n_refused: int
    encoder: str
    false_matches: float
    comparisons: tuple[LeakComparison, ...] = ()

    def describe(self) -> list[str]:
        """Return what was found, and each comparison, in sentences."""
        if not self.n_groups:
            return ["no duplicates were found"]
        groups = "1 group" if self.n_groups == 1 else f"{self.n_groups:,} groups"
        first = f"{self.n_images:,} images are in {groups} of the same picture, held together"
        if self.n_refused:
            first += (
                f"; {self.n_refused:,} training images are left out, because a copy is held out"
            )
        return [first, *map(str, self.comparisons)]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)
