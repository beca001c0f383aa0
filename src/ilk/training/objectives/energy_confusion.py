"""Energy confusion: a metric loss, and a pull between rows of different classes that opposes it.

Binghui Chen, Weihong Deng, 2019, Energy Confused Adversarial Metric Learning for Zero-Shot Image
Retrieval and Clustering, arXiv 1901.07169: `L = L_metric + weight E |z_i - z_j|^2` over pairs of
different classes, minimized. The two gradients oppose each other; there is no discriminator. On
unit vectors `|z_i - z_j|^2 = 2 - 2 s_ij`, so that the term is a constant pull on each such pair,
close to a smaller weight of negatives or a smaller margin: these are what it must be compared with.
"""

from __future__ import annotations

from torch import Tensor

from ilk.training.metric_objective import (
    MetricObjective,
    WrappingObjective,
    find_pairs,
    mean_selected,
)
from ilk.training.objective import TrainingStep
from ilk.training.objectives.semi_hard_triplet import SemiHardTriplet


class EnergyConfusion(WrappingObjective):
    """`L_metric + weight mean |z_i - z_j|^2` over pairs of different classes in the batch.

    Args:
        metric: The loss it is added to; None takes `SemiHardTriplet()`.
        weight: Weight of the term, >= 0; near 1 the embedding collapses.
    """

    TUNED = ("weight", (0.003, 0.01, 0.03, 0.1, 0.3))

    def __init__(self, metric: MetricObjective | None = None, weight: float = 0.03) -> None:
        super().__init__()
        self.metric = SemiHardTriplet() if metric is None else metric
        self.weight = weight

    def compute_loss(self, z: Tensor, y: Tensor, step: TrainingStep) -> Tensor:
        """Return the loss of unit embeddings `[b, e]` of classes `y [b]`, a scalar."""
        energy = mean_selected(2 - 2 * (z @ z.T), find_pairs(y)[1])
        return self.metric.compute_loss(z, y, step) + self.weight * energy
