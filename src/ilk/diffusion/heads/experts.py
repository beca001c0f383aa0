"""SatDiFuser's mixture of experts (arXiv 2503.07890): which fusion suits this image.

At each map size the streams of one level stand side by side, and 8 bottlenecks each make a map of
them. A gate (3 x 3 convolution, mean over places, learnt temperature) weighs these experts: all of
them in the first updates, then the best two, their weights made to sum to 1 again. The maps of all
levels are averaged.

The published code has a term meant to balance the experts, computed with the sign that rewards
imbalance, and its training loop throws the value away. Here it is left out unless `balance` asks
for it, and then it punishes imbalance: the squared coefficient of variation of the experts' summed
weights (Noam Shazeer and others, 2017, Outrageously Large Neural Networks, arXiv 1701.06538,
eq. 6 and 7).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ilk.diffusion.heads.head import Shape
from ilk.diffusion.heads.satdiffuser import Bottleneck, Fusion

EXPERTS, BEST = 8, 2


class Scale(nn.Module):
    """The experts of one map size."""

    def __init__(self, inside: int, width: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(inside, EXPERTS, 3, padding=1)
        self.log_temperature = nn.Parameter(torch.zeros(()))
        self.experts = nn.ModuleList(Bottleneck(inside, width) for _ in range(EXPERTS))

    def shares(self, x: Tensor, dense: bool) -> Tensor:
        """Weights of the experts, `[n, 8]`, which sum to 1; two of them above 0 unless `dense`."""
        logits = self.gate(x).mean((2, 3)).float() / self.log_temperature.exp()
        if not dense:
            best = logits.topk(BEST, 1).indices
            logits = torch.full_like(logits, -torch.inf).scatter(1, best, logits.gather(1, best))
        weights: Tensor = logits.softmax(1)
        return weights

    def forward(self, x: Tensor, shares: Tensor) -> Tensor:
        """The weighted sum; an expert runs on the images that it has a weight for."""
        made: list[tuple[Tensor, Tensor]] = []
        for i, expert in enumerate(self.experts):
            rows = shares[:, i].nonzero()[:, 0]
            made.append((rows, shares[rows, i, None, None, None] * expert(x[rows])))
        out = made[0][1].new_zeros(len(x), *made[0][1].shape[1:])
        for rows, part in made:
            out = out.index_add(0, rows, part)
        return out


class MixtureOfExperts(Fusion):
    """See the module.

    Args:
        shapes: Of the blocks' maps, at one level.
        levels: Noise levels; maps come level by level.
        classes: k.
        width: Channels of every stream and expert; 384 in the paper.
        dense: Updates before only the best two experts are asked; 300 to 500 in the paper.
        balance: Weight of the term that keeps experts in equal use; 0 in the published training.
    """

    updates: Tensor

    def __init__(
        self,
        shapes: Sequence[Shape],
        levels: int,
        classes: int,
        width: int = 64,
        dense: int = 300,
        balance: float = 0.0,
    ) -> None:
        super().__init__(shapes, levels, classes, width)
        self.dense, self.balance = dense, balance
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.mixtures = nn.ModuleList(
            Scale(len(members) // levels * width, width) for members in self.scales.values()
        )
        self.told: list[Tensor] = []

    def fused(self, streams: Sequence[Tensor]) -> list[Tensor]:
        dense = self.training and int(self.updates) < self.dense
        if self.training:
            self.updates += 1
        self.told, out = [], []
        mixtures = cast(Iterable[Scale], self.mixtures)
        for mixture, members in zip(mixtures, self.scales.values(), strict=True):
            k = len(members) // self.levels
            made = []
            for at in range(0, len(members), k):
                x = torch.cat([streams[i] for i in members[at : at + k]], 1)
                shares = mixture.shares(x, dense)
                self.told.append(shares)
                made.append(mixture(x, shares))
            out.append(torch.stack(made).mean(0))
        return out

    def penalty(self) -> Tensor:
        if not self.balance:
            return torch.zeros(())
        return self.balance * torch.stack([imbalance(shares) for shares in self.told]).mean()


def imbalance(shares: Tensor) -> Tensor:
    """Squared coefficient of variation of the experts' use, from weights `[n, experts]`; 0 if even.

    At most `experts - 1`, when one expert does all the work.
    """
    use = shares.sum(0)
    return use.var(correction=0) / use.mean() ** 2
