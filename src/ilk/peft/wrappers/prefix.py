"""Prefix tuning: each attention also attends to trained keys and values.

Xiang Lisa Li, Percy Liang, 2021, Prefix-Tuning: Optimizing Continuous Prompts for Generation,
arXiv 2101.00190. Departure: a gate of each head, 0 at the start, without which the network does not
start at the pretrained outputs; see `ilk.peft.prefix_attention`. Keys and values are trained as
they are, not through an MLP.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ilk.peft.low_rank import make_generator
from ilk.peft.parts import Part
from ilk.peft.prefix_attention import make_prefixes
from ilk.peft.wrapper import Wrapper, check_positive


@dataclass(frozen=True)
class Prefix(Wrapper):
    """Keys and values before each attention's; 2 length width + heads parameters an attention.

    Attributes:
        length: Number of keys and values.
        gated: Start at the pretrained outputs; False is the prefix as published, which does not.
        seed: Seed of keys and values.
    """

    is_mergeable = False
    learning_rate = 1e-2
    needs = "attention with layers of its own for queries, keys and values"

    length: int = 16
    gated: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(self, length=self.length)

    @property
    def starts_exactly(self) -> bool:
        return self.gated

    def make_parts(self, network: nn.Module) -> list[tuple[str, Part]]:
        return make_prefixes(network, self.length, self.gated, make_generator(self.seed))
