"""Whether a fit holds all features in memory, and how much it may."""

from __future__ import annotations

from dataclasses import dataclass

from ilk.core.available_memory import measure_available_memory

SHARE = 0.5  # of what is available, by default
COPIES = 3  # of the features while a fold is fitted: all rows, its training rows, and work
GIGABYTE = 1e9


@dataclass(frozen=True)
class MemoryPlan:
    """What a fit in memory needs, and what it may use.

    Attributes:
        needed: Bytes that a fit in memory takes, estimated.
        limit: Bytes that it may use.
        is_given: Whether the user has set the limit.
    """

    needed: int
    limit: int
    is_given: bool = False

    @property
    def fits(self) -> bool:
        """Whether the features are held in memory."""
        return self.needed <= self.limit

    def __str__(self) -> str:
        origin = "--memory" if self.is_given else "half of what is available; --memory GB sets it"
        verb = "needs about" if self.fits else "would need about"
        return (
            f"a fit in memory {verb} {self.needed / GIGABYTE:.2g} GB, and may use "
            f"{self.limit / GIGABYTE:.2g} GB ({origin})"
        )


def plan_memory(n: int, d: int, k: int, memory: float = 0.0) -> MemoryPlan:
    """Return the plan for `n` rows of `d` features, over all encoders, and `k` classes.

    Args:
        n: Number of images.
        d: Number of features of an image, summed over encoders.
        k: Number of classes.
        memory: Limit in gigabytes; 0 is half of what is available.
    """
    limit = memory * GIGABYTE if memory else SHARE * measure_available_memory()
    return MemoryPlan(n * (4 * d * COPIES + 8 * k * 4), int(limit), bool(memory))
