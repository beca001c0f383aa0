"""DifFormer: attention over several blocks, at several noise levels.

Soumik Mukhopadhyay and others, 2024, Do Text-free Diffusion Models Learn Discriminative Visual
Representations?, arXiv 2311.17921: at each level the tokens of all blocks are concatenated, each
block with its own normalisation and projection; the same attention layers summarise every level;
the summaries of all levels enter one linear layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.diffusion.heads.attention import MAX_SIDE, ClassTokenEncoder, TokenProjection
from ilk.diffusion.heads.head import Head, Shape


class DifFormer(Head):
    """Fusion by attention; see the module. Maps are ordered by level, then by block.

    Args:
        shapes: Shapes of the blocks' maps, at one level.
        levels: Number of noise levels.
        classes: Number of classes k.
        width: Width of a token, a multiple of 8; 1024 in the paper.
        pool: Maximum tokens per side.
    """

    def __init__(
        self,
        shapes: Sequence[Shape],
        levels: int,
        classes: int,
        width: int = 128,
        pool: int = MAX_SIDE,
    ) -> None:
        super().__init__()
        self.levels = levels
        self.tokens = nn.ModuleList(TokenProjection(shape, width, pool) for shape in shapes)
        self.summary = ClassTokenEncoder(width)
        self.out = nn.Linear(levels * width, classes)

    def forward(self, *maps: Tensor) -> Tensor:
        k = len(self.tokens)
        if len(maps) != self.levels * k:
            raise InputError(f"{len(maps)} maps for {k} blocks at {self.levels} levels")
        summaries = []
        for start in range(0, len(maps), k):
            pairs = zip(self.tokens, maps[start : start + k], strict=True)
            summaries.append(
                self.summary(torch.cat([tokens(block_map) for tokens, block_map in pairs], 1))
            )
        return cast(Tensor, self.out(torch.cat(summaries, 1)))
