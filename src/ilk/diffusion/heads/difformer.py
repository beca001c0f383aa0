"""DifFormer: attention over several blocks, at several noise levels.

Soumik Mukhopadhyay and others, 2024, Do Text-free Diffusion Models Learn Discriminative Visual
Representations?, arXiv 2311.17921: at each level the tokens of all blocks stand side by side, each
block with a normalisation and projection of its own; the same attention layers sum up every level;
the sums of all levels go into one linear layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ilk.diffusion.heads.attention import FINEST, Summary, Tokens
from ilk.diffusion.heads.head import Head, Shape
from ilk.errors import InputError


class DifFormer(Head):
    """See the module. Maps come level by level: all blocks of the first, all of the second, …

    Args:
        shapes: Of the blocks' maps, at one level.
        levels: Noise levels.
        classes: k.
        width: Of a token, a multiple of 8; 1024 in the paper.
        pool: Tokens a side at most.
    """

    def __init__(
        self,
        shapes: Sequence[Shape],
        levels: int,
        classes: int,
        width: int = 128,
        pool: int = FINEST,
    ) -> None:
        super().__init__()
        self.levels = levels
        self.tokens = nn.ModuleList(Tokens(shape, width, pool) for shape in shapes)
        self.summary = Summary(width)
        self.out = nn.Linear(levels * width, classes)

    def forward(self, *maps: Tensor) -> Tensor:
        k = len(self.tokens)
        if len(maps) != self.levels * k:
            raise InputError(f"{len(maps)} maps for {k} blocks at {self.levels} levels")
        sums = []
        for at in range(0, len(maps), k):
            pairs = zip(self.tokens, maps[at : at + k], strict=True)
            sums.append(self.summary(torch.cat([tokens(seen) for tokens, seen in pairs], 1)))
        return cast(Tensor, self.out(torch.cat(sums, 1)))
