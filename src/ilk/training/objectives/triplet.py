"""Triplet loss: each row is nearer to its own class than to all others, by a margin.

Florian Schroff, Dmitry Kalenichenko, James Philbin, 2015, FaceNet, arXiv 1503.03832. The positive
is the farthest row of the class, and the mean is over triplets of positive loss, as in Alexander
Hermans, Lucas Beyer, Bastian Leibe, 2017, arXiv 1703.07737.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import relu

from ilk.training.episodes import Episode, EpisodicObjective, mean_positive, pairwise_distances


class Triplet(EpisodicObjective):
    """`mean over rows a, hardest positives p and negatives n of [d(a, p) - d(a, n) + margin]+`.

    Args:
        margin: Margin, in squared distances over the root of the embedding's width, > 0.
    """

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        self.margin = margin

    def compute_loss(self, episode: Episode) -> Tensor:
        """Return the loss of an episode, a scalar."""
        return triplet_loss(episode, self.margin)


def triplet_loss(episode: Episode, margin: float = 1.0) -> Tensor:
    """Return the mean over triplets of positive loss, a scalar."""
    distances = pairwise_distances(episode.embeddings, episode.embeddings)
    same_class = episode.y[:, None] == episode.y
    is_positive = same_class & ~torch.eye(
        len(same_class), dtype=torch.bool, device=same_class.device
    )
    hardest_positive = distances.masked_fill(~is_positive, -1).argmax(1)  # the farthest
    positive = distances.gather(1, hardest_positive[:, None])
    return mean_positive(relu(positive - distances + margin).masked_fill(same_class, 0))
