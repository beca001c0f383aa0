"""A cheap head names the classes that are worth a diffusion model's calls."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ilk.diffusion.levels import Levels
from ilk.diffusion.race import Race
from ilk.diffusion.strategy import Ledger, Strategy
from ilk.errors import InputError


@dataclass(frozen=True, eq=False)
class Shortlist(Strategy):
    """Another strategy among the classes that a cheap head likes best.

    Classes that are not on the list score below those that are, in the order of the cheap head.
    What the list leaves out no race can win, whatever its error rate.

    Attributes:
        scores: Of the cheap head for the images that will be judged, `[n, k]`, higher is likelier.
        top: Classes on the list, >= 1.
        strategy: How they are told apart.
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
        if tuple(self.scores.shape) != (n, k):
            raise InputError(
                f"cheap scores of shape {tuple(self.scores.shape)} for {n} images and {k} classes; "
                f"give {(n, k)}"
            )
        self.strategy.check(levels, n, k)

    def entrants(self, n: int, k: int) -> tuple[Tensor, Tensor]:
        best = self.scores.argsort(dim=1, descending=True, stable=True)[:, : self.top]
        on = torch.zeros(n, k, dtype=torch.bool).scatter_(1, best, True)
        return on, self.scores.float()

    def settle(self, ledger: Ledger) -> Tensor:
        return self.strategy.settle(ledger)

    def growth(self, levels: int) -> Tensor:
        return self.strategy.growth(levels)
