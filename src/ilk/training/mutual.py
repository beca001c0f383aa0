"""Two networks that teach each other: each learns from labels and from the other's running mean.

Yixiao Ge, Dapeng Chen, Hongsheng Li, 2020, Mutual Mean-Teaching: Pseudo Label Refinery for
Unsupervised Domain Adaptation on Person Re-identification, arXiv 2001.01526. With z_i the logits of
network i, and m_j the probabilities that the running mean of the other's weights gives,

    loss = sum over i of (1 - teaching) CE(z_i, y) + teaching CE(z_i, m_j)
    mean_i <- momentum mean_i + (1 - momentum) weights_i   after each update
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.training.loop import Batch, Objective


class Learner(Protocol):
    """A network of a pair: logits of a batch; with a generator, as they are when it learns."""

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor: ...


class Pair(nn.Module):
    """Two networks and the running mean of each.

    Attributes:
        nets: The two that learn.
        means: Their running means, which teach and are not learnt.

    Args:
        made: Called twice; two draws of the same network.
        momentum: How much of the mean an update leaves, in [0, 1).
    """

    def __init__(self, made: Callable[[], nn.Module], momentum: float = 0.99) -> None:
        super().__init__()
        self.nets = nn.ModuleList([made(), made()])
        self.means = copy.deepcopy(self.nets).requires_grad_(False)
        self.momentum = momentum

    @torch.no_grad()
    def follow(self) -> None:
        """Move the means towards the networks as they are now."""
        torch._foreach_lerp_(
            list(self.means.parameters()), list(self.nets.parameters()), 1 - self.momentum
        )

    @torch.no_grad()
    def taught(self, x: Tensor) -> list[Tensor]:
        """What the mean of each network makes of rows, two times `[n, k]` probabilities."""
        return [functional.softmax(mean(x), dim=1) for mean in self.means]


def mutual(teaching: float) -> Objective:
    """The loss of a pair; a share `teaching` of it, in [0, 1], comes from the other's mean.

    Rows without a label have the other's mean alone to learn from. With 0 the two know nothing of
    each other.
    """

    def loss(pair: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        assert isinstance(pair, Pair)
        pair.follow()
        taught = pair.taught(batch.x) if teaching else []
        known = batch.y >= 0
        total = batch.x.sum() * 0.0
        for i, net in enumerate(pair.nets):
            z = net(batch.x, generator)
            total = total + z.sum() * 0.0  # so that there is a gradient where nothing is to learn
            if known.any():
                own = functional.cross_entropy(z[known], batch.y[known])
                total = total + (1 - teaching) * own
            if teaching:
                total = total + teaching * functional.cross_entropy(z, taught[1 - i])
        return total

    return loss
