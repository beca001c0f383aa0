"""LOOK: the leave-one-out error of a soft nearest-neighbour classifier over a memory.

Yutong Feng, Jianwen Jiang, Mingqian Tang, Rong Jin, Yue Gao, 2021, Rethinking Supervised
Pre-training for Better Downstream Transferring, arXiv 2110.06014. With the memory M of keys of a
slowly moving copy of the network, and N_k(i) the k keys most similar to row i, i itself left out,

    p_i = sum_{j in N_k(i), y_j = y_i} e^(s_ij / t) / sum_{j in N_k(i)} e^(s_ij / t)
    L = - mean log p_i

A row needs only most of its neighbours in its class, so that a class may stay in several places; k
as large as the memory is close to the supervised contrastive loss. Where no neighbour is of the
class, its most similar key is added, since p = 0 has no gradient, and for the first part of the
run all keys are neighbours.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ilk.training.batch import Batch
from ilk.training.metric_objective import MetricObjective, embed, measure_width
from ilk.training.objective import TrainingStep
from ilk.training.optimizers import ParameterGroup
from ilk.training.sources import Source


class LeaveOneOutKnn(MetricObjective):
    """`- mean log p_i` over a memory of the last keys.

    Args:
        k: Number of neighbours, >= 1.
        temperature: Divides the cosines, > 0.
        memory_size: Number of keys, >= 1; the oldest are replaced.
        momentum: How much of the copy is kept per update, in [0, 1).
        warmup: Part of the run in which all keys are neighbours, in [0, 1].

    Attributes:
        keys: The memory, `[m, e]`.
        key_y: Class of each key, `[m]`; -1 where there is none yet.
        key_row: Position in the training set of each key's row, `[m]`; -1 if unknown.
        place: Where the next key goes.
        key_network: The slowly moving copy.
    """

    TUNED = ("k", (10.0, 50.0, 200.0))

    keys: Tensor
    key_y: Tensor
    key_row: Tensor
    place: Tensor

    def __init__(
        self,
        k: float = 50,
        temperature: float = 0.1,
        memory_size: int = 2048,
        momentum: float = 0.99,
        warmup: float = 0.2,
    ) -> None:
        super().__init__()
        self.k, self.temperature, self.memory_size = int(k), temperature, memory_size
        self.momentum, self.warmup = momentum, warmup
        self.key_network: nn.Module = nn.Identity()
        self.register_buffer("keys", torch.zeros(memory_size, 1))
        self.register_buffer("key_y", torch.full((memory_size,), -1))
        self.register_buffer("key_row", torch.full((memory_size,), -1))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    def setup(self, network: nn.Module, data: Source) -> None:
        self.key_network = copy.deepcopy(network).requires_grad_(False)
        self.keys = torch.zeros(self.memory_size, measure_width(network, data))

    def parameter_groups(self) -> list[ParameterGroup]:
        return []

    def before_step(self, network: nn.Module, step: TrainingStep) -> None:
        keep = self.momentum if step.index else 0.0
        pairs = zip(self.key_network.parameters(), network.parameters(), strict=True)
        for key, query in pairs:
            key.lerp_(query, 1 - keep)
        buffers = zip(self.key_network.buffers(), network.buffers(), strict=True)
        for own, other in buffers:
            own.copy_(other)

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        known = batch.y >= 0
        x, y = batch.x[known], batch.y[known]
        unknown = torch.full((len(batch.x),), -1, device=y.device)
        row = (unknown if batch.indices is None else batch.indices)[known]
        z = embed(network, x)
        with torch.no_grad():
            self._remember(embed(self.key_network, x), y, row)
        k = self.memory_size if step.progress <= self.warmup else self.k
        return self.compute_neighbour_loss(z, y, row, k)

    def compute_neighbour_loss(self, z: Tensor, y: Tensor, row: Tensor, k: int) -> Tensor:
        """Return the loss of unit embeddings `[b, e]` over the memory, a scalar.

        Args:
            z: Embeddings of unit length, `[b, e]`.
            y: Their classes, `[b]`.
            row: Their positions in the training set, `[b]`; -1 if unknown.
            k: Number of neighbours.
        """
        if not len(z):
            return z.sum()
        allowed = (self.key_y >= 0) & ((self.key_row != row[:, None]) | (row[:, None] < 0))
        logits = (z @ self.keys.T / self.temperature).masked_fill(~allowed, -torch.inf)
        same = allowed & (self.key_y == y[:, None])
        near = torch.zeros_like(allowed)
        near.scatter_(1, logits.topk(min(k, len(self.keys)), 1).indices, True)
        first = logits.masked_fill(~same, -torch.inf).argmax(1, keepdim=True)
        near.scatter_(1, first, near.gather(1, first) | same.gather(1, first))
        near &= allowed
        found = same.any(1)
        own = torch.logsumexp(logits.masked_fill(~(near & same), -torch.inf)[found], 1)
        every = torch.logsumexp(logits.masked_fill(~near, -torch.inf)[found], 1)
        return (every - own).sum() / found.sum().clamp(min=1) + 0 * z.sum()

    def _remember(self, keys: Tensor, y: Tensor, row: Tensor) -> None:
        """Put keys into the memory in place of the oldest; a row's older key is dropped."""
        keys, y, row = (v[-self.memory_size :] for v in (keys, y, row))
        is_old = torch.isin(self.key_row, row[row >= 0])
        self.key_y[is_old], self.key_row[is_old] = -1, -1
        places = (self.place + torch.arange(len(y), device=y.device)) % self.memory_size
        self.keys[places], self.key_y[places], self.key_row[places] = keys, y, row
        self.place.copy_((self.place + len(y)) % self.memory_size)
