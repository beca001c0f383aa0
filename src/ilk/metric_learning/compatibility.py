"""Whether an update of an embedding can query an index of the version before.

Queries by the new version must find at least as much in the old index as queries by the old one do
(see `ilk.maths.compatibility`), or the update is not called compatible and indexes are built again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.metrics import Interval
from ilk.maths.compatibility import measure_retrieval
from ilk.maths.retrieval import bootstrap_classes

MAX_MEASURED = 4000  # images that search each other


@dataclass(frozen=True, eq=False)
class Compatibility:
    """How much queries find in an old index: mAP@R, with intervals over classes.

    Attributes:
        old: Queries by the old version, C_jj.
        new: Queries by the new version, C_ij.
        gain: Their difference.
        encoded_again: The new version in an index of its own, C_ii.
    """

    old: Interval
    new: Interval
    gain: Interval
    encoded_again: Interval

    @property
    def is_compatible(self) -> bool:
        """Whether new queries find at least as much in the old index as old ones, C_ij >= C_jj."""
        return self.gain.value >= 0

    def describe(self) -> dict[str, float]:
        """Return the figures as JSON."""
        return {
            "old queries, old index": self.old.value,
            "new queries, old index": self.new.value,
            "new queries, new index": self.encoded_again.value,
            "gain": self.gain.value,
            "gain, low": self.gain.low,
            "gain, high": self.gain.high,
        }

    def explain(self, name: str) -> str:
        """Return the verdict in one sentence; `name` is that of the old version."""
        figures = (
            f"{self.new.value:.3f} of the images of their class (mAP@R) against "
            f"{self.old.value:.3f} by its own queries (difference {self.gain.value:+.3f}, "
            f"{self.gain.low:+.3f} to {self.gain.high:+.3f}), and {self.encoded_again.value:.3f} "
            "in an index that is built again"
        )
        if self.is_compatible:
            return f"compatible with {name}: queries find in its index {figures}"
        return (
            f"not compatible with {name}: queries find in its index only {figures}; this is not "
            "recorded, and indexes have to be built again"
        )


def measure_update(old: NDArray[Any], new: NDArray[Any], y: Labels, seed: int = 0) -> Compatibility:
    """Return the compatibility of two versions, on images that search each other.

    Args:
        old: Embeddings of the images by the old version, `[n, e]`.
        new: Those by the new version, `[n, e]`.
        y: Classes, `[n]`.
        seed: Seed of the `MAX_MEASURED` images that are drawn if there are more.

    Raises:
        InputError: The shapes differ.
    """
    rows = np.arange(len(y))
    if len(rows) > MAX_MEASURED:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:MAX_MEASURED])
    before, after, classes = old[rows], new[rows], y[rows]
    old_old = measure_retrieval(before, before, classes)
    new_old = measure_retrieval(after, before, classes)
    new_new = measure_retrieval(after, after, classes)
    return Compatibility(
        *(
            Interval(*bootstrap_classes(values, classes))
            for values in (old_old, new_old, new_old - old_old, new_new)
        )
    )
