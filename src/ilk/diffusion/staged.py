"""The diffusion classifier with classes pruned in fixed stages.

Alexander C. Li and others, 2023, Your Diffusion Model is Secretly a Zero-Shot Classifier,
arXiv 2303.16203, algorithm 2. A stage that asks for n samples takes, of M levels by rising time,

    places  floor(floor(M / n) / 2) + j floor(M / n),   j = 0 … n - 1

less those that were asked before. The grids of two stages need not share a place: 20 and then 50
of 500 share none. After a stage, the classes of least mean error over all places so far remain.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ilk.diffusion.levels import Levels
from ilk.diffusion.strategy import Ledger, Strategy, lowest
from ilk.errors import InputError


@dataclass(frozen=True)
class Staged(Strategy):
    """Stages of pruning.

    Levels may come in any order; the stages count them by sigma. `Levels.steps` makes the paper's.

    Attributes:
        samples: Levels of each stage's grid.
        keep: Classes that remain after each stage; the last is 1.
    """

    samples: tuple[int, ...] = (50, 500)
    keep: tuple[int, ...] = (5, 1)

    def __post_init__(self) -> None:
        if not 0 < len(self.samples) == len(self.keep):
            raise InputError(
                f"{len(self.samples)} stages of samples and {len(self.keep)} of classes to keep; "
                "give as many of each, at least one"
            )
        if min(self.samples) < 1 or list(self.keep) != sorted(self.keep, reverse=True):
            raise InputError(
                f"stages of {self.samples} samples that keep {self.keep} classes cannot be; give "
                "at least 1 sample a stage, and never keep more classes than the stage before"
            )
        if self.keep[-1] != 1:
            raise InputError(f"the last stage keeps {self.keep[-1]} classes; it must keep 1")

    def plan(self, levels: int) -> list[list[int]]:
        """The places that each stage asks for afresh, of `levels` places by rising sigma."""
        done: set[int] = set()
        stages = []
        for n in self.samples:
            stride = levels // n
            grid = range(stride // 2, levels, stride)[:n]
            stages.append([place for place in grid if place not in done])
            done.update(grid)
        return stages

    def cost(self, k: int, levels: int) -> int:
        """Calls of the network for an image of one of k classes."""
        live = [k, *(min(k, keep) for keep in self.keep)]
        return sum(
            c * len(places) for c, places in zip(live, self.plan(levels), strict=False) if c > 1
        )

    def check(self, levels: Levels, n: int, k: int) -> None:
        if max(self.samples) > len(levels):
            raise InputError(
                f"a stage of {max(self.samples)} samples cannot be taken from {len(levels)} noise "
                "levels; give as many levels as the largest stage"
            )

    def settle(self, ledger: Ledger) -> Tensor:
        levels, live = ledger.levels, ledger.live.clone()
        rising = levels.rising().places(levels)
        sums = torch.zeros(live.shape, dtype=torch.float64)
        for places, keep in zip(self.plan(len(levels)), self.keep, strict=True):
            fresh = [rising[place] for place in places]
            asked = live & (live.sum(1, keepdim=True) > 1)
            ledger.ask(asked, fresh)
            sums += torch.nan_to_num(ledger.found[:, :, fresh]).sum(2)
            order = torch.where(live, sums, torch.inf).argsort(dim=1, stable=True)
            live &= torch.zeros_like(live).scatter_(1, order[:, :keep], True)
        return lowest(sums, live)


@dataclass(frozen=True)
class Published:
    """A schedule of the paper.

    Attributes:
        staged: Its stages.
        distance: Of its errors.
        classes: Of its data set.
    """

    staged: Staged
    distance: str
    classes: int


_FOUR = Staged((20, 50, 100, 500), (20, 10, 5, 1))
SCHEDULES = {
    "food101": Published(_FOUR, "l2", 101),
    "cifar10": Published(Staged((50, 500), (5, 1)), "l1", 10),
    "aircraft": Published(_FOUR, "l2", 100),
    "pets": Published(Staged((25, 250), (5, 1)), "l1", 37),
    "flowers102": Published(_FOUR, "l1", 102),
    "stl10": Published(Staged((100, 500), (5, 1)), "l1", 10),
    "imagenet": Published(Staged((50, 100, 500, 1000), (500, 50, 10, 1)), "l2", 1000),
    "objectnet": Published(Staged((50, 100, 500, 1000), (25, 10, 5, 1)), "l2", 113),
}
"""The stages published for eight data sets; levels are as many as the last stage's samples."""
