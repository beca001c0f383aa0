"""Features of the patches of an image, from blocks in the middle of a network.

Karsten Roth and others, 2022, Towards Total Recall in Industrial Anomaly Detection, arXiv
2106.08265, section 3.1: early blocks know no objects, late ones know ImageNet's, so those in the
middle are taken, here the last ones at an eighth and a sixteenth of the input's side. Each feature
is the mean over 3 x 3 neighbours ("locally aware"), and all are brought to one grid.

Departure: the grid is the coarser one, onto which the finer is averaged; the paper's is the finer.
That is a quarter of the patches, hence of memory and time. In a vision transformer, whose blocks
have one size, the blocks at a half and at three quarters of the depth are taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (8, 16)
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
        self.chosen = choose_stages([(s.shape[2], s.shape[3]) for s in stages], size)
        sizes = [(stages[i].shape[2], stages[i].shape[3]) for i in self.chosen]
        self.grid = (*min(sizes), sum(stages[i].shape[1] for i in self.chosen))

    def forward(self, x: Tensor) -> Tensor:
        """Return patches, row after row of the grid, all features of a patch side by side."""
        stages = self.list_stages(self.network, x)
        maps = []
        for i in self.chosen:
            pooled = functional.avg_pool2d(
                stages[i], NEIGHBOURHOOD, 1, NEIGHBOURHOOD // 2, count_include_pad=False
            )
            maps.append(functional.adaptive_avg_pool2d(pooled, self.grid[:2]))
        return torch.cat(maps, 1).permute(0, 2, 3, 1).flatten(1)


def choose_stages(sizes: Sequence[tuple[int, int]], size: tuple[int, int]) -> list[int]:
    """Return the positions of the blocks whose outputs are taken.

    Args:
        sizes: Height and width of the output of each block.
        size: Those of the input.
    """
    wanted = [(-(-size[0] // stride), -(-size[1] // stride)) for stride in STRIDES]
    last = {s: i for i, s in enumerate(sizes)}
    found = [last[s] for s in wanted if s in last]
    if len(found) > 1:
        return found
    usual = found and sizes[found[0]] or Counter(sizes).most_common(1)[0][0]
    same = [i for i, s in enumerate(sizes) if s == usual]
    return sorted({same[len(same) // 2], same[(3 * len(same)) // 4]})
