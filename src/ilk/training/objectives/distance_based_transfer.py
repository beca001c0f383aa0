"""Distance-based representative transfer (DBR): two numbers per image in place of a soft label.

Minh-Tuan Tran and others, 2025, Enhancing Dataset Distillation via Non-Critical Region Refinement,
arXiv 2503.18267. The teacher's probabilities q of an image with label y are kept as

    d_1 = -sum_c e_c log q_c,    d_2 = -sum_c e'_c log q_c

with e the one-hot label and e' an augmented one: smoothed, `e' = (1 - s) e + s / k`. The first says
how sure the teacher is, the second how evenly it spreads the rest. The student p adds its mismatch,

    -log p_y + weight (|-sum e log p - d_1| + |-sum e' log p - d_2|)

(the paper's augmentation of the one-hot label was not at hand: departure.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ilk.training.batch import Batch
from ilk.training.losses import weighted_mean
from ilk.training.objective import Objective, TrainingStep
from ilk.training.sources import Source


class DistanceBasedTransfer(Objective):
    """`mean_i w_i (-log p_i[y_i] + weight (|D_1(p_i) - d_i1| + |D_2(p_i) - d_i2|))`.

    Rows without a label do not count; a batch without labels has the loss 0.

    Args:
        teacher_logits: Logits of the teacher, `[n, k]`, by `batch.indices`, of which two numbers
            per row are kept; None takes the teacher to be certain of a label, d = 0.
        weight: Weight of the mismatch, >= 0.
        smoothing: s, in (0, 1).
    """

    distances: Tensor

    def __init__(
        self, teacher_logits: Tensor | None = None, weight: float = 1.0, smoothing: float = 0.5
    ) -> None:
        super().__init__()
        self.teacher_logits, self.weight, self.smoothing = teacher_logits, weight, smoothing
        self.register_buffer("distances", torch.zeros(0, 2))

    def setup(self, network: nn.Module, data: Source) -> None:
        """Keep two numbers per row, and forget the teacher's logits."""
        rows = data.take(torch.arange(len(data)), "cpu")
        if self.teacher_logits is None:
            self.distances = torch.zeros(len(rows.y), 2)
        else:
            log_q = self.teacher_logits.float().cpu().log_softmax(1)
            self.distances = compute_distances(log_q, rows.y.clamp(min=0), self.smoothing)
        self.teacher_logits = None

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        is_labelled = batch.y >= 0
        if not is_labelled.any():
            return 0.0 * network(batch.x).sum()  # type: ignore[no-any-return]
        log_p, y = network(batch.x[is_labelled]).log_softmax(1), batch.y[is_labelled]
        assert batch.indices is not None, "the trainer sets them"
        kept = self.distances[batch.indices[is_labelled]]
        found = compute_distances(log_p, y, self.smoothing)
        losses = found[:, 0] + self.weight * (found - kept).abs().sum(1)
        return weighted_mean(losses, None if batch.weight is None else batch.weight[is_labelled])


def compute_distances(log_p: Tensor, y: Tensor, smoothing: float) -> Tensor:
    """Return the cross-entropy to the one-hot label and to the smoothed one, `[n, 2]`.

    Args:
        log_p: Log-probabilities, `[n, k]`.
        y: Classes, `[n]`.
        smoothing: Part of the label that is spread over all classes, in (0, 1).
    """
    own = -log_p.gather(1, y[:, None])[:, 0]
    return torch.stack([own, (1 - smoothing) * own - smoothing * log_p.mean(1)], 1)
