"""Contrastive loss: pairs of a class are drawn together, others pushed apart up to a margin.

Raia Hadsell, Sumit Chopra, Yann LeCun, 2006, Dimensionality Reduction by Learning an Invariant
Mapping, doi:10.1109/CVPR.2006.100; distances instead of their squares, and means over the pairs
that are not yet where they should be, as in Kevin Musgrave, Serge Belongie, Ser-Nam Lim, 2020, A
Metric Learning Reality Check, arXiv 2003.08505.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import relu

from ilk.training.metric_objective import (
    MetricObjective,
    compute_distances,
    find_pairs,
    mean_selected,
)
from ilk.training.objective import TrainingStep


class ContrastivePairs(MetricObjective):
    """`mean d(pair of a class) + mean [margin - d(pair of two)]+`, over pairs above 0.

    Args:
        margin: Distance at unit length that pairs of two classes should have, in (0, 2].
    """

    TUNED: ClassVar = ("margin", (0.5, 0.8, 1.1))

    def __init__(self, margin: float = 0.5) -> None:
        super().__init__()
        self.margin = margin

    def compute_loss(self, z: Tensor, y: Tensor, step: TrainingStep) -> Tensor:
        """Return the loss of unit embeddings `[b, e]` of classes `y [b]`, a scalar."""
        distances, (positive, negative) = compute_distances(z @ z.T), find_pairs(y)
        push = relu(self.margin - distances)
        return mean_selected(distances, positive) + mean_selected(push, negative & (push > 0))
