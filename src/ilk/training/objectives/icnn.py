"""ICNN loss: rows are near to their own class, far from others, and have neighbours of their own.

Mauricio Mendez-Ruiz and others, 2023, SuSana Distancia is all you need, arXiv 2305.09062. A row's
score is the product of three numbers in [0, 1]: one less its mean distance to the nearest rows of
its class; its mean distance to the nearest rows of others (both relative to the largest distance
in the batch); and the fraction of its class among its nearest rows, which has no gradient and
weights the rows. The loss is -log of the mean score.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ilk.training.episodes import (
    EPSILON,
    Episode,
    EpisodicObjective,
    mean_nearest_distance,
    pairwise_distances,
)

NEIGHBOURS = 5


class ICNN(EpisodicObjective):
    """`-log mean over rows of (1 - intra) inter purity`.

    Args:
        neighbours: Number of nearest rows, >= 1.
    """

    def __init__(self, neighbours: int = NEIGHBOURS) -> None:
        super().__init__()
        self.neighbours = neighbours

    def compute_loss(self, episode: Episode) -> Tensor:
        """Return the loss of an episode, a scalar."""
        return icnn_loss(episode, self.neighbours)


def icnn_loss(episode: Episode, neighbours: int = NEIGHBOURS) -> Tensor:
    """Return -log of the mean score of the rows, a scalar."""
    distances = pairwise_distances(episode.embeddings, episode.embeddings, take_root=True)
    same_class = episode.y[:, None] == episode.y
    is_self = torch.eye(len(same_class), dtype=torch.bool, device=same_class.device)
    masked_distance = distances.detach().max() + 1
    intra = mean_nearest_distance(
        distances.masked_fill(~same_class | is_self, masked_distance),
        same_class & ~is_self,
        neighbours,
    )
    inter = mean_nearest_distance(
        distances.masked_fill(same_class, masked_distance), ~same_class, neighbours
    )
    nearest_rows = (
        distances.detach()
        .masked_fill(is_self, masked_distance)
        .topk(min(neighbours, len(same_class) - 1), 1, False)
    )
    purity = same_class.gather(1, nearest_rows.indices).to(distances.dtype).mean(1)
    scale = distances.detach().max().clamp(min=EPSILON)
    score = (1 - intra / scale) * (inter / scale) * purity
    return -torch.log(score.mean().clamp(min=EPSILON))
