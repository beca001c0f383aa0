"""SHERL: what frozen early blocks say, freed of redundancy, goes through the last blocks.

Haiwen Diao and others, 2024, SHERL: Synthesizing High Accuracy and Efficient Memory for
Resource-Limited Transfer Learning, arXiv 2407.07523. With F_l the output of early block l of L, P_l
a linear layer to h = width / 2 and a normalization, u = P_L F_L, and V_l = P_l F_l for l < L, at
each token

    R_l = sum_m ReLU(cos(V_l, V_m))          redundancy
    a_l = ReLU(w . (V_l * u) + b) / R_l,     divided by their sum
    z   = u + sum_l a_l V_l
    out = LayerNorm(W ReLU(z)) + tanh(10 g) F_L,   g 0 at the start

With two early blocks before the last, R is the same for both and cancels. Departure: no dropout.
`out` goes through the last blocks, which are frozen but pass the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.errors import InputError
from ilk.peft.early_route import EarlyRoute, find_blocks, make_linear
from ilk.peft.low_rank import make_generator
from ilk.peft.parts import Part
from ilk.peft.wrapper import Wrapper


class AntiRedundancy(EarlyRoute):
    """The early blocks and the combination of their outputs.

    Args:
        blocks: The early blocks.
        subtracts: Divide by the redundancy; else R is 1.
        generator: Draws the weights.
    """

    def __init__(self, blocks: list[nn.Module], subtracts: bool, generator: torch.Generator):
        super().__init__(blocks)
        self.subtracts = subtracts
        width = self.widths[-1]
        hidden = max(1, width // 2)
        self.projections = nn.ModuleList(
            nn.Sequential(make_linear(w, hidden, generator), nn.LayerNorm(hidden))
            for w in self.widths
        )
        self.score = make_linear(hidden, 1, generator)
        self.output, self.norm = make_linear(hidden, width, generator), nn.LayerNorm(width)
        self.gate = nn.Parameter(torch.zeros(1))
        like = next(blocks[-1].parameters())
        self.to(device=like.device, dtype=like.dtype)

    def combine(self, outputs: list[Tensor]) -> Tensor:
        """Return `[..., width]` of the outputs `[..., width]` of the early blocks."""
        parts = [p(f) for p, f in zip(self.projections, outputs, strict=True)]
        u, v = parts[-1], torch.stack(parts[:-1], -2)
        score = functional.relu(self.score(v * u[..., None, :]))[..., 0]
        if self.subtracts:
            directions = functional.normalize(v, dim=-1)
            score = score / functional.relu(directions @ directions.mT).sum(-1)
        a = functional.normalize(score, p=1, dim=-1)
        z = u + (a[..., None] * v).sum(-2)
        combined: Tensor = self.norm(self.output(functional.relu(z)))
        return combined + torch.tanh(10 * self.gate) * outputs[-1]


@dataclass(frozen=True)
class SHERL(Wrapper):
    """The outputs of early blocks, combined, go through the last ones: little memory to train.

    About (L + 1) width^2 / 2 parameters for L early blocks.

    Attributes:
        late: Number of last blocks that the combination goes through.
        anti_redundancy: Divide by the redundancy R; False exists for comparison.
        seed: Seed of the weights.
    """

    is_mergeable = False
    learning_rate = 3e-3
    needs = "a chain of blocks"

    late: int = 1
    anti_redundancy: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.late < 1:
            raise InputError(f"SHERL: late is {self.late}; it must be at least 1")

    @property
    def starts_exactly(self) -> bool:
        return False  # the gate of the pretrained output starts at 0

    def make_parts(self, network: nn.Module) -> list[tuple[str, Part]]:
        found = find_blocks(network, self.late)
        if found is None:
            return []
        path, blocks = found
        return [(path, AntiRedundancy(blocks, self.anti_redundancy, make_generator(self.seed)))]
