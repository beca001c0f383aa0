"""Distillation of probabilities: the student's softened answers become the teacher's.

Geoffrey Hinton, Oriol Vinyals, Jeff Dean, 2015, Distilling the Knowledge in a Neural Network,
arXiv 1503.02531, section 2. With logits z of the student, t of the teacher and labels y:

    L = (1 - a) T^2 mean_i KL( softmax(t_i / T) || softmax(z_i / T) ) + a mean CE(z_i, y_i)

Rows without a label have the first term alone.
"""

from __future__ import annotations

from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.training.batch import Batch
from ilk.training.objective import TrainingStep
from ilk.training.teacher_objective import TeacherObjective, compute_soft_loss


class KD(TeacherObjective):
    """Divergence from the teacher's probabilities, and cross-entropy of the labelled rows.

    Args:
        teacher_logits: As for `TeacherObjective`, `[n, k]`.
        temperature: T, > 0.
        label_weight: a, in [0, 1].
    """

    def __init__(
        self,
        teacher_logits: Tensor | None = None,
        temperature: float = 2.0,
        label_weight: float = 0.1,
    ) -> None:
        super().__init__(teacher_logits)
        if not temperature > 0:
            raise InputError(f"temperature is {temperature}; it must be above 0")
        if not 0 <= label_weight <= 1:
            raise InputError(f"label_weight is {label_weight}; it must be from 0 to 1")
        self.temperature, self.label_weight = temperature, label_weight

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        teacher, logits = self.find_teacher_logits(batch), network(batch.x).float()
        return compute_soft_loss(logits, teacher, batch, self.temperature, self.label_weight)
