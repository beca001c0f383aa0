"""Linear probe of arXiv 2307.08702: a map pooled to p x p, flattened, `c * p * p -> k`."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from ilk.diffusion.heads.head import Head, Shape


class LinearHead(Head):
    """Linear probe; see the module. The tables of the paper use p = 2.

    Args:
        shape: Shape of the map.
        classes: Number of classes k.
        pool: p, limited to the size of the map.
    """

    def __init__(self, shape: Shape, classes: int, pool: int = 2) -> None:
        super().__init__()
        self.pool = min(pool, shape[1])
        self.out = nn.Linear(shape[0] * self.pool**2, classes)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        rows = functional.adaptive_avg_pool2d(x, self.pool).flatten(1)
        return cast(Tensor, self.out(rows))
