"""How much of an accuracy rests on images that depend on each other, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ilk.core.metrics import Interval


@dataclass(frozen=True)
class HeldTogether:
    """The accuracy with each cluster of nearly the same images in one fold, beside the plain one.

    Attributes:
        n_images: Number of training images in clusters.
        n_clusters: Number of clusters.
        n_train: Number of training images.
        evidence: What shows the clusters, in words.
        plain: Cross-validated accuracy with images dealt one by one.
        accuracy: That with clusters held together; its interval counts clusters, not images.
        is_lower: Whether it is clearly lower.
        option: The option that names the groups, such as `--group-from '^(p\\d+)_'`.
    """

    n_images: int
    n_clusters: int
    n_train: int
    evidence: str
    plain: Interval
    accuracy: Interval
    is_lower: bool
    option: str

    def __str__(self) -> str:
        """Return what was found, both accuracies, and what to do, in one or two sentences."""
        text = (
            f"{self.n_images:,} of {self.n_train:,} training images lie in {self.n_clusters:,} "
            f"clusters of pictures that depend on each other ({self.evidence}): with each cluster "
            f"in one fold, the accuracy is {self.accuracy} instead of {self.plain}"
        )
        if not self.is_lower:
            return (
                f"{text}, which is not a clear difference; the probabilities, prediction sets and "
                "report are those of the former"
            )
        return (
            f"{text}; expect the lower one for new patients, scenes or days. The leaderboard shows "
            "the higher one; the probabilities, prediction sets and report are those of the lower "
            f"one. To compare the methods that way, too, fit again with {self.option}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)
