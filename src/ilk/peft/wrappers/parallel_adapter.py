"""Scaled parallel adapters: an MLP of few units beside each sub-layer of a transformer.

Junxian He and others, 2022, Towards a Unified View of Parameter-Efficient Transfer Learning,
arXiv 2110.04366: h <- h + s ReLU(x Wd) Wu, with x the input of the sub-layer.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ilk.peft.bottleneck import make_adapters
from ilk.peft.layers import check_choice
from ilk.peft.low_rank import make_generator
from ilk.peft.parts import Part
from ilk.peft.wrapper import Wrapper, check_positive


@dataclass(frozen=True)
class ParallelAdapter(Wrapper):
    """An MLP beside each sub-layer; rank (inputs + outputs) parameters a sub-layer.

    Attributes:
        rank: Number of units.
        scale: The factor s.
        layers: Beside "mlp", "attention", or "all"; in a network without either, beside
            each convolution that does not widen.
        seed: Seed of Wd; Wu starts at 0.
    """

    is_mergeable = False
    learning_rate = 3e-3
    needs = "MLPs of blocks, attention, or convolutions that do not widen"

    rank: int = 16
    scale: float = 2.0
    layers: str = "mlp"
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(self, rank=self.rank, scale=self.scale)
        check_choice(self.layers)

    def make_parts(self, network: nn.Module) -> list[tuple[str, Part]]:
        generator = make_generator(self.seed)
        return make_adapters(network, self.rank, self.scale, self.layers, False, generator)
