"""Preselect candidate classes by an inexpensive head."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.diffusion.classification.race import Race
from ilk.diffusion.classification.strategy import Ledger, Strategy
from ilk.diffusion.errors.levels import Levels


@dataclass(frozen=True, eq=False)
class Shortlist(Strategy):
    """Apply another strategy to the classes with the highest scores of an inexpensive head.

    Other classes score below the candidates, in the order of the head. An answer that is not among
    the candidates is lost, whatever the error rate of the strategy.

    Attributes:
        scores: Scores `[n, k]` of the head for the images to classify.
        top: Number of candidates, >= 1.
        strategy: Strategy that decides among them.

    Raises:
        InputError: `top` is below 1 or a score is not finite.
    """

    scores: Tensor
    top: int
    strategy: Strategy = field(default_factory=Race)

    def __post_init__(self) -> None:
        if self.top < 1:
            raise InputError(f"a shortlist of {self.top} classes holds no answer; give at least 1")
        if not bool(torch.isfinite(self.scores).all()):
            raise InputError("a score of the cheap head is not finite; leave the shortlist out")

    def check(self, levels: Levels, n: int, k: int) -> None:
        """Check the shape of the scores and the inner strategy.

        Raises:
            InputError: The shape is not `[n, k]`.
        """
        if tuple(self.scores.shape) != (n, k):
            raise InputError(
                f"cheap scores of shape {tuple(self.scores.shape)} for {n} images and {k} classes; "
                f"give {(n, k)}"
            )
        self.strategy.check(levels, n, k)

    def select_candidates(self, n: int, k: int) -> tuple[Tensor, Tensor]:
        """Return the candidates `[n, k]` and the scores `[n, k]` of the head."""
        best = self.scores.argsort(dim=1, descending=True, stable=True)[:, : self.top]
        is_listed = torch.zeros(n, k, dtype=torch.bool).scatter_(1, best, True)
        return is_listed, self.scores.float()

    def find_winners(self, ledger: Ledger) -> Tensor:
        """Return the winners `[n]` of the inner strategy."""
        return self.strategy.find_winners(ledger)

    def get_extrapolation(self, n_levels: int) -> Tensor:
        """Return the factors `[levels + 1]` of the inner strategy."""
        return self.strategy.get_extrapolation(n_levels)
