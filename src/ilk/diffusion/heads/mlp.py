"""Multilayer probe of arXiv 2307.08702: pooled and flattened, then hidden layers with ReLU."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from ilk.diffusion.heads.head import Head, Shape


class MLPHead(Head):
    """See the module.

    Args:
        shape: Of the map.
        classes: k.
        pool: Side of the pooled map; no finer than the map.
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

    def forward(self, seen: Tensor) -> Tensor:
        rows = functional.adaptive_avg_pool2d(seen, self.pool).flatten(1)
        return cast(Tensor, self.layers(rows))
