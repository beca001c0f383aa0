"""Multilayer perceptron of arXiv 2307.08702 on a pooled, flattened map."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from ilk.diffusion.heads.head import Head, Shape


class MLPHead(Head):
    """Multilayer perceptron; see the module.

    Args:
        shape: Shape of the map.
        classes: Number of classes k.
        pool: Size of the pooled map, limited to that of the map.
        hidden: Width of each hidden layer.
    """

    def __init__(
        self, shape: Shape, classes: int, pool: int = 2, hidden: Sequence[int] = (256,)
    ) -> None:
        super().__init__()
        self.pool = min(pool, shape[1])
        widths = [shape[0] * self.pool**2, *hidden]
        layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], classes))

    def forward(self, x: Tensor) -> Tensor:
        rows = functional.adaptive_avg_pool2d(x, self.pool).flatten(1)
        return cast(Tensor, self.layers(rows))
