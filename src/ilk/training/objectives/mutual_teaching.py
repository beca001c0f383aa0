"""Mutual mean-teaching: two networks learn from labels and from each other's running mean.

Yixiao Ge, Dapeng Chen, Hongsheng Li, 2020, Mutual Mean-Teaching: Pseudo Label Refinery for
Unsupervised Domain Adaptation on Person Re-identification, arXiv 2001.01526. With z_i the logits of
network i, and m_j the probabilities of the teacher whose weights are the running mean of those of
the other network j,

    loss = sum over i of (1 - teacher_weight) CE(z_i, y) + teacher_weight CE(z_i, m_j)
    teacher_i <- momentum teacher_i + (1 - momentum) network_i   before each update
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.training.batch import Batch
from ilk.training.losses import mean_cross_entropy
from ilk.training.objective import Objective, TrainingStep, unwrap
from ilk.training.sources import Source


class PeerNetworks(nn.Module):
    """Two networks of the same architecture.

    Each maps `(x, generator)` to logits `[n, k]`: with a generator in training, without in
    inference.

    Args:
        make_network: Called twice; draws new weights each time.
    """

    def __init__(self, make_network: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList([make_network(), make_network()])


class MutualTeaching(Objective):
    """The loss of a pair of networks; rows without a label have the teacher alone.

    The teachers persist from one run to the next, as long as the objective does.

    Args:
        teacher_weight: Weight of the teachers, in [0, 1]; with 0 the networks are independent.
        momentum: Momentum of the running means, in [0, 1).
    """

    teachers: nn.ModuleList

    def __init__(self, teacher_weight: float = 0.5, momentum: float = 0.99) -> None:
        super().__init__()
        self.teacher_weight, self.momentum = teacher_weight, momentum

    def setup(self, network: nn.Module, data: Source) -> None:
        if not hasattr(self, "teachers"):
            networks = unwrap(network, PeerNetworks).networks
            self.teachers = copy.deepcopy(networks).requires_grad_(False)

    @torch.no_grad()
    def before_step(self, network: nn.Module, step: TrainingStep) -> None:
        networks = unwrap(network, PeerNetworks).networks
        torch._foreach_lerp_(
            list(self.teachers.parameters()), list(networks.parameters()), 1 - self.momentum
        )

    @torch.no_grad()
    def compute_targets(self, x: Tensor) -> list[Tensor]:
        """Return the probabilities of each teacher for images `[n, c, h, w]`, two `[n, k]`."""
        return [functional.softmax(teacher(x), dim=1) for teacher in self.teachers]

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        targets = self.compute_targets(batch.x) if self.teacher_weight else []
        is_labelled, total = batch.y >= 0, batch.x.sum() * 0.0
        weight = None if batch.weight is None else batch.weight[is_labelled]
        for i, peer in enumerate(unwrap(network, PeerNetworks).networks):
            z = peer(batch.x, step.generator)
            total = total + z.sum() * 0.0  # a gradient of 0 where nothing is to be learned
            if is_labelled.any():
                supervised_loss = mean_cross_entropy(z[is_labelled], batch.y[is_labelled], weight)
                total = total + (1 - self.teacher_weight) * supervised_loss
            if self.teacher_weight:
                total = total + self.teacher_weight * functional.cross_entropy(z, targets[1 - i])
        return total

    @classmethod
    def make_network(cls, d: int, k: int) -> nn.Module:
        return PeerNetworks(lambda: _Peer(d, k))


class _Peer(nn.Module):
    """A linear network with the signature of a peer."""

    def __init__(self, d: int, k: int) -> None:
        super().__init__()
        self.layer = nn.Linear(d, k)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        logits: Tensor = self.layer(x)
        return logits
