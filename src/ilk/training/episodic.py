"""Losses of a batch that is played as a task: some rows make prototypes, the others ask.

Each works on distances of embedded rows divided by the root of the embedding's width, so that one
margin serves all widths. `embedding` trains a `Head` by any of them through the one training loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

from ilk.data import Data
from ilk.training.heads import BATCH, Head, fitted, steps
from ilk.training.loop import Batch, Recipe

NEIGHBOURS = 5
TINY = 1e-6


@dataclass(frozen=True, eq=False)
class Task:
    """An embedded batch, played.

    Attributes:
        rows: Embedded rows whose class has two or more in the batch, `[n, h]`.
        y: Their classes, numbered within the batch, `[n]`.
        asks: Which of them ask; the others are in a prototype, `[n]` bool.
        prototypes: Mean of the rows of each class that do not ask, `[k, h]`.
    """

    rows: Tensor
    y: Tensor
    asks: Tensor
    prototypes: Tensor

    @classmethod
    def of(cls, rows: Tensor, y: Tensor, generator: torch.Generator) -> Task:
        """About half of each class asks, drawn by `generator`; classes of one row are left out."""
        _, which, counts = torch.unique(y, return_inverse=True, return_counts=True)
        kept = counts[which] > 1
        rows, which = rows[kept], (torch.cumsum(counts > 1, 0) - 1)[which[kept]]
        drawn = torch.randperm(len(rows), generator=generator, device=generator.device)
        order = drawn.to(rows.device)[torch.argsort(which[drawn.to(rows.device)], stable=True)]
        counts = counts[counts > 1]
        rank = torch.arange(len(rows), device=rows.device)
        rank = rank - torch.repeat_interleave(torch.cumsum(counts, 0) - counts, counts)
        asks = torch.empty(len(rows), dtype=torch.bool, device=rows.device)
        asks[order] = rank >= torch.repeat_interleave(counts // 2, counts)
        sums = rows.new_zeros(len(counts), rows.shape[1])
        sums = sums.index_add(0, which[~asks], rows[~asks])
        return cls(rows, which, asks, sums / (counts // 2)[:, None])


Loss = Callable[[Task], Tensor]


def prototypical(task: Task) -> Tensor:
    """Cross-entropy of the askers' distances to the prototypes.

    Jake Snell, Kevin Swersky, Richard Zemel, 2017, Prototypical Networks for Few-shot Learning,
    arXiv 1703.05175.
    """
    asked = task.rows[task.asks]
    return cross_entropy(-apart(asked, task.prototypes), task.y[task.asks])


def triplet(task: Task, margin: float = 1.0) -> Tensor:
    """The ordinary one: a row, another of its class, and all rows of other classes.

    Florian Schroff, Dmitry Kalenichenko, James Philbin, 2015, FaceNet, arXiv 1503.03832. The
    other is the farthest of its class, and the mean is over the triplets that cost something, as
    Alexander Hermans, Lucas Beyer, Bastian Leibe, 2017, arXiv 1703.07737, advise.
    """
    between = apart(task.rows, task.rows)
    same = task.y[:, None] == task.y
    other = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
    partner = between.masked_fill(~other, -1).argmax(1)  # the farthest: the hardest to bring near
    own = between.gather(1, partner[:, None])
    return mean_positive(relu(own - between + margin).masked_fill(same, 0))


def proto_triplet(task: Task, margin: float = 1.0) -> Tensor:
    """Anchors are prototypes, positives the askers of the class, negatives those of all others."""
    far = apart(task.rows[task.asks], task.prototypes)
    y = task.y[task.asks]
    own = far.gather(1, y[:, None])  # asker i to its own prototype
    theirs = far.T[y]  # asker j to the prototype of asker i
    same = y[:, None] == y
    return mean_positive(relu(own - theirs + margin).masked_fill(same, 0))


def icnn(task: Task, neighbours: int = NEIGHBOURS) -> Tensor:
    """-log of the mean score of rows: near to their own class, far from others, among their own.

    A row's score is the product of three numbers in [0, 1]: one less its mean distance to the
    nearest rows of its class, its mean distance to the nearest of others, both as parts of their
    sum over the batch's largest distance, and the share of its class among its nearest rows (which
    has no slope and weighs rows: those in order pull harder).
    """
    between = apart(task.rows, task.rows, root=True)
    same = task.y[:, None] == task.y
    itself = torch.eye(len(same), dtype=torch.bool, device=same.device)
    beyond = between.detach().max() + 1
    intra = nearest(between.masked_fill(~same | itself, beyond), same & ~itself, neighbours)
    inter = nearest(between.masked_fill(same, beyond), ~same, neighbours)
    near = (
        between.detach().masked_fill(itself, beyond).topk(min(neighbours, len(same) - 1), 1, False)
    )
    share = same.gather(1, near.indices).to(between.dtype).mean(1)
    scale = between.detach().max().clamp(min=TINY)
    score = (1 - intra / scale) * (inter / scale) * share
    return -torch.log(score.mean().clamp(min=TINY))


def nearest(far: Tensor, allowed: Tensor, neighbours: int) -> Tensor:
    """Mean of each row's least allowed distances, `[n]`, over as many as there are."""
    least, at = far.topk(min(neighbours, far.shape[1]), 1, largest=False)
    there = allowed.gather(1, at)
    return (least * there).sum(1) / there.sum(1).clamp(min=1)


def mean_positive(cost: Tensor) -> Tensor:
    """Mean of the entries above 0; 0 where there is none."""
    return cost.sum() / (cost > 0).sum().clamp(min=1)


def apart(a: Tensor, b: Tensor, *, root: bool = False) -> Tensor:
    """Squared distances `[n, m]` (or plain, with `root`) of rows, over the root of their width."""
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    squared = squared.clamp(min=0) / a.shape[1] ** 0.5
    return torch.sqrt(squared + TINY) if root else squared


def embedding(data: Data, loss: Loss, hidden: int, passes: float, seed: int) -> Head:
    """A head whose hidden units `loss` has trained on the labelled rows of `data`.

    Where no class has two rows, or there is one class, no task can be played and the units stay as
    drawn.
    """
    net = Head.of(data, hidden, seed)
    counts = data.counts()
    if counts.max() < 2 or (counts > 0).sum() < 2:
        return net

    def objective(network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        assert isinstance(network, Head)
        rows = network.hidden(batch.x)
        task = Task.of(rows, batch.y, generator)
        return loss(task) if len(task.prototypes) > 1 else 0 * rows.sum()

    n = len(data)
    recipe = Recipe(steps(n, passes, 100), min(BATCH, n), lr=4e-3, warmup=20, seed=seed)
    return fitted(net, data, objective, recipe)
