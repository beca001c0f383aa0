"""Prototypical loss: cross-entropy of the queries' distances to the class prototypes.

Jake Snell, Kevin Swersky, Richard Zemel, 2017, Prototypical Networks for Few-shot Learning,
arXiv 1703.05175.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from ilk.training.episodes import Episode, EpisodicObjective, pairwise_distances


class Prototypical(EpisodicObjective):
    """`mean over queries q of class c: -log softmax(-d(q, prototypes))[c]`."""

    def compute_loss(self, episode: Episode) -> Tensor:
        """Return the loss of an episode, a scalar."""
        return prototypical_loss(episode)


def prototypical_loss(episode: Episode) -> Tensor:
    """Return the mean cross-entropy of the queries, a scalar."""
    queries = episode.embeddings[episode.is_query]
    return cross_entropy(
        -pairwise_distances(queries, episode.prototypes), episode.y[episode.is_query]
    )
