"""Settings of `ilk compress`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ilk.core.errors import InputError
from ilk.export.int8 import MAX_LOSS


@dataclass(frozen=True)
class CompressionConfig:
    """How a classifier is compressed.

    Attributes:
        int8: Compute the network in 8 bits.
        prune: Fraction of the network's multiply-adds to remove, as whole channels, in [0, 1).
        max_loss: Greatest loss of accuracy, as a fraction, in [0, 1].
        seed: Seed of the folds.

    Raises:
        InputError: A value is out of range, or nothing is to be done.
    """

    int8: bool = True
    prune: float = 0.0
    max_loss: float = MAX_LOSS
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.prune < 1:
            raise InputError(f"--prune is {self.prune:g}; it must be at least 0 and below 1")
        if not (0 <= self.max_loss <= 1 and math.isfinite(self.max_loss)):
            raise InputError(f"--max-loss is {self.max_loss:g}; it must be from 0 to 1")
        if not self.int8 and not self.prune:
            raise InputError("neither 8 bits nor pruning is requested; pass --int8, or --prune 0.2")

    @property
    def phrase(self) -> str:
        """What was done, for sentences: "in 8 bits", "pruned"."""
        parts = ["pruned"] * bool(self.prune) + ["in 8 bits"] * self.int8
        return " and ".join(parts)
