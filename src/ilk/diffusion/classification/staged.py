"""The diffusion classifier with classes pruned in fixed stages.

Alexander C. Li and others, 2023, Your Diffusion Model is Secretly a Zero-Shot Classifier,
arXiv 2303.16203, algorithm 2. A stage of n samples evaluates, of M levels by increasing time,

    positions  floor(floor(M / n) / 2) + j floor(M / n),   j = 0 ... n - 1

except those evaluated before. The grids of two stages may be disjoint: those of 20 and 50 of 500
are. After a stage, the classes with the lowest mean error over all positions so far remain.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.diffusion.classification.strategy import Ledger, Strategy, select_lowest
from ilk.diffusion.errors.levels import Levels


@dataclass(frozen=True)
class StagedPruning(Strategy):
    """Pruning in stages.

    Levels may come in any order; the stages count them by sigma. `Levels.from_schedule` gives those
    of the paper.

    Attributes:
        samples: Number of levels of each stage.
        keep: Number of classes that remain after each stage; the last is 1.

    Raises:
        InputError: The stages are inconsistent.
    """

    samples: tuple[int, ...] = (50, 500)
    keep: tuple[int, ...] = (5, 1)

    def __post_init__(self) -> None:
        if not 0 < len(self.samples) == len(self.keep):
            raise InputError(
                f"{len(self.samples)} stages of samples and {len(self.keep)} of classes to keep; "
                "give one number of classes per stage, and at least one stage"
            )
        if min(self.samples) < 1 or list(self.keep) != sorted(self.keep, reverse=True):
            raise InputError(
                f"stages of {self.samples} samples that keep {self.keep} classes are invalid; "
                "give at least 1 sample per stage and a non-increasing number of classes"
            )
        if self.keep[-1] != 1:
            raise InputError(f"the last stage keeps {self.keep[-1]} classes; it must keep 1")

    def plan_stages(self, n_levels: int) -> list[list[int]]:
        """Return the new positions of each stage among `n_levels` positions by increasing sigma."""
        evaluated: set[int] = set()
        stages = []
        for n in self.samples:
            stride = n_levels // n
            grid = range(stride // 2, n_levels, stride)[:n]
            stages.append([position for position in grid if position not in evaluated])
            evaluated.update(grid)
        return stages

    def count_calls(self, k: int, n_levels: int) -> int:
        """Return the number of network calls per image with k classes."""
        live = [k, *(min(k, keep) for keep in self.keep)]
        return sum(
            c * len(positions)
            for c, positions in zip(live, self.plan_stages(n_levels), strict=False)
            if c > 1
        )

    def check(self, levels: Levels, n: int, k: int) -> None:
        """Check the number of levels.

        Raises:
            InputError: There are fewer levels than a stage needs.
        """
        if max(self.samples) > len(levels):
            raise InputError(
                f"a stage of {max(self.samples)} samples cannot be taken from {len(levels)} noise "
                "levels; give as many levels as the largest stage"
            )

    def find_winners(self, ledger: Ledger) -> Tensor:
        """Evaluate the stages and return the best classes `[n]`."""
        levels, live = ledger.levels, ledger.live.clone()
        ascending = levels.sort_by_sigma().find_indices(levels)
        sums = torch.zeros(live.shape, dtype=torch.float64)
        for positions, keep in zip(self.plan_stages(len(levels)), self.keep, strict=True):
            new_levels = [ascending[position] for position in positions]
            undecided = live & (live.sum(1, keepdim=True) > 1)
            ledger.evaluate(undecided, new_levels)
            sums += torch.nan_to_num(ledger.errors[:, :, new_levels]).sum(2)
            order = torch.where(live, sums, torch.inf).argsort(dim=1, stable=True)
            live &= torch.zeros_like(live).scatter_(1, order[:, :keep], True)
        return select_lowest(sums, live)


@dataclass(frozen=True)
class PublishedSchedule:
    """A schedule of the paper.

    Attributes:
        strategy: Its stages.
        distance: Distance of its errors.
        classes: Number of classes of its data set.
    """

    strategy: StagedPruning
    distance: str
    classes: int


_FOUR_STAGES = StagedPruning((20, 50, 100, 500), (20, 10, 5, 1))
SCHEDULES = {
    "food101": PublishedSchedule(_FOUR_STAGES, "l2", 101),
    "cifar10": PublishedSchedule(StagedPruning((50, 500), (5, 1)), "l1", 10),
    "aircraft": PublishedSchedule(_FOUR_STAGES, "l2", 100),
    "pets": PublishedSchedule(StagedPruning((25, 250), (5, 1)), "l1", 37),
    "flowers102": PublishedSchedule(_FOUR_STAGES, "l1", 102),
    "stl10": PublishedSchedule(StagedPruning((100, 500), (5, 1)), "l1", 10),
    "imagenet": PublishedSchedule(
        StagedPruning((50, 100, 500, 1000), (500, 50, 10, 1)), "l2", 1000
    ),
    "objectnet": PublishedSchedule(StagedPruning((50, 100, 500, 1000), (25, 10, 5, 1)), "l2", 113),
}
"""Published stages of eight data sets; the last stage uses all levels."""
