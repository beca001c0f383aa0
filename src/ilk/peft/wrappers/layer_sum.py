"""A learned mean of the outputs of frozen early blocks goes through the last blocks.

Matthew E. Peters and others, 2018, Deep contextualized word representations, arXiv 1802.05365,
equation 1, before the last blocks in place of a task's own network:

    out = gamma sum_l softmax(s)_l F_l

Departure: s starts with almost all weight on the last early block, so that the start is almost the
pretrained network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.peft.early_route import EarlyRoute, find_blocks
from ilk.peft.parts import Part
from ilk.peft.wrapper import Wrapper


class WeightedSum(EarlyRoute):
    """The early blocks and the weighted mean of their outputs.

    Args:
        blocks: The early blocks, whose outputs have one width.
        start: The last of the s at the start; the others are 0.
    """

    def __init__(self, blocks: list[nn.Module], start: float) -> None:
        super().__init__(blocks)
        like = next(blocks[-1].parameters())
        weights = torch.zeros(len(blocks), device=like.device, dtype=like.dtype)
        weights[-1] = start
        self.weights = nn.Parameter(weights)
        self.gamma = nn.Parameter(torch.ones_like(weights[0]))

    def combine(self, outputs: list[Tensor]) -> Tensor:
        """Return `[..., width]` of the outputs `[..., width]` of the early blocks."""
        shares = self.weights.softmax(0)
        return self.gamma * (torch.stack(outputs, -1) @ shares)


@dataclass(frozen=True)
class LayerSum(Wrapper):
    """A learned mean of the outputs of early blocks goes through the last ones: L + 1 parameters.

    Attributes:
        late: Number of last blocks that the mean goes through.
        start: Weight of the last early block before the softmax, at the start; the others have 0.
    """

    is_mergeable = False
    learning_rate = 1e-2
    needs = "a chain of blocks of one width"

    late: int = 1
    start: float = 4.0

    def __post_init__(self) -> None:
        if self.late < 1:
            raise InputError(f"LayerSum: late is {self.late}; it must be at least 1")

    @property
    def starts_exactly(self) -> bool:
        return False

    def make_parts(self, network: nn.Module) -> list[tuple[str, Part]]:
        found = find_blocks(network, self.late)
        if found is None:
            return []
        part = WeightedSum(found[1], self.start)
        return [(found[0], part)] if len(set(part.widths)) == 1 else []
