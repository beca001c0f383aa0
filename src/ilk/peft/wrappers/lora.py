"""LoRA: a trained change of low rank is added to each weight matrix.

Edward J. Hu and others, 2022, LoRA: Low-Rank Adaptation of Large Language Models, arXiv 2106.09685,
equation 3. A convolution's change is a convolution to `rank` channels, of the same kernel, and a
1 x 1 convolution from there (departure: the paper has linear layers).

    h = W x + (alpha / rank) B A x,   A [rank, inputs] random, B [outputs, rank] 0 at the start
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ilk.peft.layers import check_choice, list_layers
from ilk.peft.low_rank import LowRank, make_generator
from ilk.peft.parts import Part
from ilk.peft.wrapper import Wrapper, check_positive


@dataclass(frozen=True)
class LoRA(Wrapper):
    """A change of low rank in each layer; rank (inputs + outputs) parameters a layer.

    Attributes:
        rank: Rank of the change, at most that of the layer.
        alpha: Factor of the change, times `rank`.
        layers: "all", or those of "attention" or "mlp".
        seed: Seed of A.
    """

    learning_rate = 3e-3

    rank: int = 8
    alpha: float = 16.0
    layers: str = "all"
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(self, rank=self.rank, alpha=self.alpha)
        check_choice(self.layers)

    def make_parts(self, network: nn.Module) -> list[tuple[str, Part]]:
        generator, scale = make_generator(self.seed), self.alpha / self.rank
        return [
            (path, LowRank(layer, self.rank, scale, generator))
            for path, layer in list_layers(network, self.layers)
        ]
