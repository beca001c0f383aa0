"""Proto-Triplet loss: prototypes are nearer to their own queries than to those of other classes.

Mauricio Mendez-Ruiz and others, 2023, SuSana Distancia is all you need, arXiv 2305.09062.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import relu

from ilk.training.episodes import Episode, EpisodicObjective, mean_positive, pairwise_distances


class ProtoTripletLoss(EpisodicObjective):
    """Mean over classes k, queries q of k and q' of others: `[d(c_k, q) - d(c_k, q') + margin]+`.

    Args:
        margin: Margin, in squared distances over the root of the embedding's width, > 0.
    """

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        self.margin = margin

    def compute_loss(self, episode: Episode) -> Tensor:
        """Return the loss of an episode, a scalar."""
        return proto_triplet_loss(episode, self.margin)


def proto_triplet_loss(episode: Episode, margin: float = 1.0) -> Tensor:
    """Return the mean over triplets of positive loss, a scalar."""
    distances = pairwise_distances(episode.embeddings[episode.is_query], episode.prototypes)
    y = episode.y[episode.is_query]
    positive = distances.gather(1, y[:, None])  # query i to its own prototype
    negatives = distances.T[y]  # query j to the prototype of query i
    same_class = y[:, None] == y
    return mean_positive(relu(positive - negatives + margin).masked_fill(same_class, 0))
