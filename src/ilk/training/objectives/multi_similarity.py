"""Multi-similarity loss: pairs count by how similar they are, and in comparison with the others.

Xun Wang, Xintong Han, Weilin Huang, Dengke Dong, Matthew R. Scott, 2019, Multi-Similarity Loss with
General Pair Weighting for Deep Metric Learning, arXiv 1904.06627, equations 12 to 15. A positive
pair is kept if it is less similar than the most similar negative plus epsilon, a negative one if it
is more similar than the least similar positive minus epsilon.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ilk.training.metric_objective import MetricObjective, find_pairs, log_sum_exp_with_one
from ilk.training.objective import TrainingStep


class MultiSimilarity(MetricObjective):
    """The mean of `log(1 + sum_p e^(-a (s - base))) / a + log(1 + sum_n e^(b (s - base))) / b`.

    Args:
        base: Similarity that separates pairs of a class from others, in (-1, 1).
        alpha: Weight of positive pairs in the exponent, > 0.
        beta: Weight of negative pairs in the exponent, > 0.
        epsilon: Slack of the selection of pairs, >= 0.
    """

    TUNED: ClassVar = ("base", (0.3, 0.5, 0.7))

    def __init__(
        self, base: float = 0.5, alpha: float = 2.0, beta: float = 50.0, epsilon: float = 0.1
    ) -> None:
        super().__init__()
        self.base, self.alpha, self.beta, self.epsilon = base, alpha, beta, epsilon

    def compute_loss(self, z: Tensor, y: Tensor, step: TrainingStep) -> Tensor:
        """Return the loss of unit embeddings `[b, e]` of classes `y [b]`, a scalar."""
        cosines, (positive, negative) = z @ z.T, find_pairs(y)
        with torch.no_grad():
            most = cosines.masked_fill(~negative, -torch.inf).amax(1, keepdim=True)
            least = cosines.masked_fill(~positive, torch.inf).amin(1, keepdim=True)
            positive = positive & (cosines < most + self.epsilon)
            negative = negative & (cosines > least - self.epsilon)
        pull = log_sum_exp_with_one(-self.alpha * (cosines - self.base), positive) / self.alpha
        push = log_sum_exp_with_one(self.beta * (cosines - self.base), negative) / self.beta
        return (pull + push).sum() / max(len(z), 1)
