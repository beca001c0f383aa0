"""Features of the patches of an image, from blocks in the middle of a network.

Karsten Roth and others, 2022, Towards Total Recall in Industrial Anomaly Detection, arXiv
2106.08265, section 3.1: outputs of several blocks are brought to one grid; each feature is the mean
over 3 x 3 neighbours ("locally aware").

Departures: the paper takes the blocks at an eighth and a sixteenth of the input's side, on the
finer grid; here those at a thirty-second count too, on the grid of a sixteenth, which has a quarter
of the patches. In a vision transformer, whose blocks have one size, the blocks at a half and at
three quarters of the depth are taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

GRID_STRIDE, STRIDES = 16, (8, 16, 32)
MAX_ALIKE = 3  # outputs of one size that are all taken
NEIGHBOURHOOD = 3

ListStages = Callable[[Any, Tensor], Sequence[Tensor]]


class PatchNetwork(nn.Module):
    """Maps normalized images `[b, 3, h, w]` to patches `[b, rows columns c]`.

    Args:
        network: In evaluation mode.
        list_stages: Returns the outputs `[b, c, h', w']` of its blocks for images.
        size: Height and width of its input.

    Attributes:
        grid: Rows of patches, columns of patches, features per patch.
    """

    def __init__(self, network: nn.Module, list_stages: ListStages, size: tuple[int, int]) -> None:
        super().__init__()
        self.network, self.list_stages = network, list_stages
        with torch.inference_mode():
            stages = list_stages(network, torch.zeros(1, 3, *size))
        sizes = [(stage.shape[2], stage.shape[3]) for stage in stages]
        self.chosen, rows, columns = choose_stages(sizes, size)
        self.grid = (rows, columns, sum(stages[i].shape[1] for i in self.chosen))

    def forward(self, x: Tensor) -> Tensor:
        """Return patches, row after row of the grid, all features of a patch side by side."""
        stages = self.list_stages(self.network, x)
        maps = []
        for i in self.chosen:
            # Zeros beyond the border count: means over fewer patches would vary more there.
            pooled = functional.avg_pool2d(stages[i], NEIGHBOURHOOD, 1, NEIGHBOURHOOD // 2)
            maps.append(_bring_to_grid(pooled, self.grid[:2]))
        return torch.cat(maps, 1).permute(0, 2, 3, 1).flatten(1)


def _bring_to_grid(x: Tensor, grid: tuple[int, int]) -> Tensor:
    if x.shape[2] >= grid[0] and x.shape[3] >= grid[1]:
        return functional.adaptive_avg_pool2d(x, grid)
    return functional.interpolate(x, grid, mode="bilinear", align_corners=False)


def choose_stages(
    sizes: Sequence[tuple[int, int]], size: tuple[int, int]
) -> tuple[list[int], int, int]:
    """Return the positions of the blocks whose outputs are taken, and rows and columns of the grid.

    Args:
        sizes: Height and width of the output of each block.
        size: Those of the input.
    """
    wanted = [(-(-size[0] // stride), -(-size[1] // stride)) for stride in STRIDES]
    found = [s for s in wanted if s in sizes] or [Counter(sizes).most_common(1)[0][0]]
    chosen: list[int] = []
    for usual in found:
        same = [i for i, s in enumerate(sizes) if s == usual]
        if len(same) > MAX_ALIKE:
            same = [same[len(same) // 2], same[(3 * len(same)) // 4]]
        chosen += same
    grid = wanted[STRIDES.index(GRID_STRIDE)]
    return sorted(chosen), *(grid if grid in found else found[0])
