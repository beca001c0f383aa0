"""Progressive distillation: each of ever smaller students learns what those before it left.

José Medina, Amnir Hadachi, Paul Honeine, Abdelaziz Bensrhair, 2025, Mamba base PKD for efficient
knowledge compression, arXiv 2503.01727. With t the teacher's logits, z the student's, and G the sum
of the logits of the students before it (0 for the first):

    F = G + z
    L = a CE(F, y) over labelled rows
        + (1 - a) T^2 mean_i KL( softmax(t_i / T) || softmax(F_i / T) )

so that students add up as weak learners do in boosting; the group's answer is softmax of the sum
over all of them. Without G this is plain distillation with the settings of the paper; with t the
logits of the previous, larger student it goes down step by step.
"""

from __future__ import annotations

from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.training.batch import Batch
from ilk.training.objective import TrainingStep
from ilk.training.teacher_objective import TeacherObjective, compute_soft_loss


class Progressive(TeacherObjective):
    """Divergence of group and student from the teacher, and cross-entropy of labelled rows.

    Args:
        teacher_logits: As for `TeacherObjective`, `[n, k]`.
        group_logits: G, the sum of the logits of earlier students for each row of the training
            set, `[n, k]`; None for the first student.
        label_weight: a, in [0, 1].
        temperature: T, > 0.
    """

    group_logits: Tensor | None

    def __init__(
        self,
        teacher_logits: Tensor | None = None,
        group_logits: Tensor | None = None,
        label_weight: float = 0.5,
        temperature: float = 4.0,
    ) -> None:
        super().__init__(teacher_logits)
        if not 0 <= label_weight <= 1 or not temperature > 0:
            raise InputError(
                f"label_weight {label_weight} must be from 0 to 1, temperature {temperature} above "
                "0"
            )
        if group_logits is not None and not isinstance(group_logits, Tensor):
            raise InputError("group_logits must be a tensor, which Python alone can give")
        self.label_weight, self.temperature = label_weight, temperature
        self.register_buffer("group_logits", None if group_logits is None else group_logits.float())

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        teacher, logits = self.find_teacher_logits(batch), network(batch.x).float()
        if self.group_logits is not None:
            logits = logits + self.group_logits[batch.indices]
        return compute_soft_loss(logits, teacher, batch, self.temperature, self.label_weight)
