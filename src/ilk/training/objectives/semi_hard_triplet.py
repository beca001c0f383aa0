"""Triplet loss on semi-hard triplets: the negative is farther than the positive, but not enough.

Florian Schroff, Dmitry Kalenichenko, James Philbin, 2015, FaceNet: A Unified Embedding for Face
Recognition and Clustering, arXiv 1503.03832, equation 4, with distances at unit length. The hardest
negatives of a batch make the embedding collapse at the start; these do not.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from ilk.training.metric_objective import (
    MetricObjective,
    compute_distances,
    find_pairs,
    mean_selected,
)
from ilk.training.objective import TrainingStep


class SemiHardTriplet(MetricObjective):
    """`mean d(a, p) - d(a, n) + margin` over triplets with `0 < d(a, n) - d(a, p) <= margin`.

    Args:
        margin: Difference of the distances at unit length, in (0, 2).
    """

    TUNED: ClassVar = ("margin", (0.05, 0.1, 0.2))

    def __init__(self, margin: float = 0.1) -> None:
        super().__init__()
        self.margin = margin

    def compute_loss(self, z: Tensor, y: Tensor, step: TrainingStep) -> Tensor:
        """Return the loss of unit embeddings `[b, e]` of classes `y [b]`, a scalar."""
        distances, (positive, negative) = compute_distances(z @ z.T), find_pairs(y)
        gap = distances[:, None] - distances[:, :, None]  # [a, p, n]: d(a, n) - d(a, p)
        is_triplet = positive[:, :, None] & negative[:, None]
        semi_hard = is_triplet & (gap > 0) & (gap <= self.margin)
        return mean_selected(self.margin - gap, semi_hard)
