"""The mixture of experts of SatDiFuser (arXiv 2503.07890): a fusion chosen per image.

At each map size the streams of one level are concatenated, and 8 bottlenecks (the experts) each
compute a map. A gate (3 x 3 convolution, global average, learned temperature) weights the experts:
all of them in the first updates, then the best two, renormalised. The maps of all levels are
averaged.

Departure from the published code, whose balancing term has the wrong sign and is discarded by the
training loop: the term is off by default; with `balance` it penalises imbalance by the squared
coefficient of variation of the experts' summed weights (Noam Shazeer and others, 2017,
Outrageously Large Neural Networks, arXiv 1701.06538, eq. 6 and 7).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ilk.diffusion.heads.head import Shape
from ilk.diffusion.heads.satdiffuser import Bottleneck, Fusion

N_EXPERTS, TOP_K = 8, 2


class ExpertLayer(nn.Module):
    """The experts of one map size."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(in_channels, N_EXPERTS, 3, padding=1)
        self.log_temperature = nn.Parameter(torch.zeros(()))
        self.experts = nn.ModuleList(Bottleneck(in_channels, width) for _ in range(N_EXPERTS))

    def compute_gates(self, x: Tensor, dense: bool) -> Tensor:
        """Return the weights of the experts, `[n, 8]`, which sum to 1; two are positive unless
        `dense`.
        """
        logits = self.gate(x).mean((2, 3)).float() / self.log_temperature.exp()
        if not dense:
            top = logits.topk(TOP_K, 1).indices
            logits = torch.full_like(logits, -torch.inf).scatter(1, top, logits.gather(1, top))
        weights: Tensor = logits.softmax(1)
        return weights

    def forward(self, x: Tensor, gates: Tensor) -> Tensor:
        """Return the weighted sum; an expert only runs on images with a positive weight."""
        outputs: list[tuple[Tensor, Tensor]] = []
        for i, expert in enumerate(self.experts):
            rows = gates[:, i].nonzero()[:, 0]
            outputs.append((rows, gates[rows, i, None, None, None] * expert(x[rows])))
        out = outputs[0][1].new_zeros(len(x), *outputs[0][1].shape[1:])
        for rows, part in outputs:
            out = out.index_add(0, rows, part)
        return out


class MixtureOfExperts(Fusion):
    """Fusion by experts; see the module.

    Args:
        shapes: Shapes of the blocks' maps, at one level.
        levels: Number of noise levels; maps are ordered by level.
        classes: Number of classes k.
        width: Channels of every stream and expert; 384 in the paper.
        dense_updates: Updates before only the best two experts are used; 300 to 500 in the paper.
        balance: Weight of the balancing term; 0 in the published training.
    """

    updates: Tensor

    def __init__(
        self,
        shapes: Sequence[Shape],
        levels: int,
        classes: int,
        width: int = 64,
        dense_updates: int = 300,
        balance: float = 0.0,
    ) -> None:
        super().__init__(shapes, levels, classes, width)
        self.dense_updates, self.balance = dense_updates, balance
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.mixtures = nn.ModuleList(
            ExpertLayer(len(members) // levels * width, width) for members in self.scales.values()
        )
        self.gate_weights: list[Tensor] = []

    def fuse(self, streams: Sequence[Tensor]) -> list[Tensor]:
        """Fuse streams `[n, width, h, w]` to one map per size."""
        dense = self.training and int(self.updates) < self.dense_updates
        if self.training:
            self.updates += 1
        self.gate_weights, out = [], []
        mixtures = cast(Iterable[ExpertLayer], self.mixtures)
        for mixture, members in zip(mixtures, self.scales.values(), strict=True):
            k = len(members) // self.levels
            level_outputs = []
            for start in range(0, len(members), k):
                x = torch.cat([streams[i] for i in members[start : start + k]], 1)
                gates = mixture.compute_gates(x, dense)
                self.gate_weights.append(gates)
                level_outputs.append(mixture(x, gates))
            out.append(torch.stack(level_outputs).mean(0))
        return out

    def compute_penalty(self) -> Tensor:
        """Return the balancing term of the last call, a scalar."""
        if not self.balance:
            return torch.zeros(())
        return (
            self.balance
            * torch.stack([compute_imbalance(gates) for gates in self.gate_weights]).mean()
        )


def compute_imbalance(gates: Tensor) -> Tensor:
    """Return the squared coefficient of variation of the summed weights `[n, experts]`; 0 if even.

    The maximum, `experts - 1`, is reached if one expert has all the weight.
    """
    load = gates.sum(0)
    return load.var(correction=0) / load.mean() ** 2
