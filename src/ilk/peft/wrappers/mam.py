"""The mix-and-match adapter: a prefix at the attention, scaled parallel adapters at MLPs.

Junxian He and others, 2022, Towards a Unified View of Parameter-Efficient Transfer Learning,
arXiv 2110.04366. Departure: the prefix is gated; see `Prefix`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ilk.peft.bottleneck import make_adapters
from ilk.peft.low_rank import make_generator
from ilk.peft.parts import Part
from ilk.peft.prefix_attention import make_prefixes
from ilk.peft.wrapper import Wrapper, check_positive


@dataclass(frozen=True)
class MAM(Wrapper):
    """`Prefix` at the attention and `ParallelAdapter` at MLPs; the sum of their parameters.

    Attributes:
        length: Number of keys and values of the prefix.
        rank: Number of units of the adapters.
        scale: Factor of the adapters.
        gated: As in `Prefix`.
        seed: Seed of the random weights.
    """

    is_mergeable = False
    learning_rate = 3e-3
    needs = "attention with layers of its own for queries, keys and values, and MLPs"

    length: int = 16
    rank: int = 16
    scale: float = 2.0
    gated: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(self, length=self.length, rank=self.rank, scale=self.scale)

    @property
    def starts_exactly(self) -> bool:
        return self.gated

    def make_parts(self, network: nn.Module) -> list[tuple[str, Part]]:
        generator = make_generator(self.seed)
        prefixes = make_prefixes(network, self.length, self.gated, generator)
        if not prefixes:
            return []
        adapters = make_adapters(network, self.rank, self.scale, "mlp", False, generator)
        return prefixes + adapters
