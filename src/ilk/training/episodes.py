"""Episodes: a batch split into prototypes and queries, and distances between embedded rows.

Distances are divided by the square root of the embedding's width, so that one margin suits all
widths.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ilk.architectures.head import Head
from ilk.training.batch import Batch
from ilk.training.objective import Objective, TrainingStep, unwrap

EPSILON = 1e-6


@dataclass(frozen=True, eq=False)
class Episode:
    """An embedded batch, split into support rows and queries.

    Attributes:
        embeddings: Embedded rows of the classes with two or more rows in the batch, `[n, h]`.
        y: Their classes, numbered within the batch, `[n]`.
        is_query: Which rows are queries; the others are support rows, `[n]` bool.
        prototypes: Mean of the support rows of each class, `[k, h]`.
    """

    embeddings: Tensor
    y: Tensor
    is_query: Tensor
    prototypes: Tensor

    @classmethod
    def sample(cls, embeddings: Tensor, y: Tensor, generator: torch.Generator) -> Episode:
        """Draw about half of each class as queries; classes of one row are left out.

        Args:
            embeddings: Embedded rows, `[n, h]`.
            y: Their classes, `[n]`.
            generator: Source of the draw.
        """
        _, labels, counts = torch.unique(y, return_inverse=True, return_counts=True)
        has_pair = counts[labels] > 1
        embeddings, labels = (
            embeddings[has_pair],
            (torch.cumsum(counts > 1, 0) - 1)[labels[has_pair]],
        )
        permutation = torch.randperm(len(embeddings), generator=generator, device=generator.device)
        order = permutation.to(embeddings.device)[
            torch.argsort(labels[permutation.to(embeddings.device)], stable=True)
        ]
        counts = counts[counts > 1]
        rank = torch.arange(len(embeddings), device=embeddings.device)
        rank = rank - torch.repeat_interleave(torch.cumsum(counts, 0) - counts, counts)
        is_query = torch.empty(len(embeddings), dtype=torch.bool, device=embeddings.device)
        is_query[order] = rank >= torch.repeat_interleave(counts // 2, counts)
        sums = embeddings.new_zeros(len(counts), embeddings.shape[1])
        sums = sums.index_add(0, labels[~is_query], embeddings[~is_query])
        return cls(embeddings, labels, is_query, sums / (counts // 2)[:, None])


class EpisodicObjective(Objective):
    """A loss of the episode that a batch makes; the network is a `Head` that embeds.

    Batches without two classes of two rows have a loss of 0.
    """

    supports_weights = False

    def compute_loss(self, episode: Episode) -> Tensor:
        """Return the loss of an episode, a scalar."""
        raise NotImplementedError

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        embeddings = unwrap(network, Head).compute_hidden(batch.x)
        episode = Episode.sample(embeddings, batch.y, step.generator)
        if len(episode.prototypes) > 1:
            return self.compute_loss(episode)
        return 0 * embeddings.sum()


class EpisodicSum(EpisodicObjective):
    """A weighted sum of episodic losses on the same episode; terms of weight 0 are left out."""

    def __init__(self, *terms: tuple[float, EpisodicObjective]) -> None:
        super().__init__()
        self.weighted_terms = [(weight, term) for weight, term in terms if weight]

    def compute_loss(self, episode: Episode) -> Tensor:
        """Return the loss of an episode, a scalar."""
        total = episode.embeddings.new_zeros(())
        for weight, term in self.weighted_terms:
            total = total + weight * term.compute_loss(episode)
        return total


def mean_nearest_distance(distances: Tensor, is_allowed: Tensor, neighbours: int) -> Tensor:
    """Return the mean of each row's smallest allowed distances, `[n]`.

    Args:
        distances: `[n, m]`.
        is_allowed: Which distances count, `[n, m]` bool.
        neighbours: Number of distances per row, fewer where fewer are allowed.
    """
    smallest, columns = distances.topk(min(neighbours, distances.shape[1]), 1, largest=False)
    is_valid = is_allowed.gather(1, columns)
    return (smallest * is_valid).sum(1) / is_valid.sum(1).clamp(min=1)


def mean_positive(cost: Tensor) -> Tensor:
    """Return the mean of the positive entries of `cost [...]`, a scalar; 0 if there are none."""
    return cost.sum() / (cost > 0).sum().clamp(min=1)


def pairwise_distances(a: Tensor, b: Tensor, *, take_root: bool = False) -> Tensor:
    """Return squared distances `[n, m]` between rows, divided by the root of their width.

    Args:
        a: `[n, h]`.
        b: `[m, h]`.
        take_root: Return their square roots instead.
    """
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    squared = squared.clamp(min=0) / a.shape[1] ** 0.5
    return torch.sqrt(squared + EPSILON) if take_root else squared
