"""What every loss of distillation shares: a fixed teacher whose answers were computed once.

A distillation loss is a file of `training/objectives/` whose class extends `TeacherObjective`. Its
first argument is the teacher, the others are settings with defaults, so that `ilk distill --loss
"KD(temperature=2)"` builds it from a name. An objective that needs features takes them from
`unwrap(network).forward_features(x) -> [n, f]`, which every student has, and `fc` is the student's
linear head; a second head is a layer of the objective that `setup` creates.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ilk.training.batch import Batch
from ilk.training.objective import Objective, unwrap
from ilk.training.sources import Source

MIN_LOG_PROBABILITY = -30.0  # of a teacher, so that its logits are finite
ROWS = 256  # at a time, where the network itself is the teacher


class TeacherObjective(Objective):
    """A loss between a network's answers and a teacher's, found by the row of the training set.

    Args:
        teacher_logits: Logits or log-probabilities of the teacher for each row of the training set,
            labelled or not, `[n, k]`; those below -30 count as -30. None takes the answers of the
            network when training starts.
    """

    teacher_logits: Tensor

    def __init__(self, teacher_logits: Tensor | None = None) -> None:
        super().__init__()
        if teacher_logits is not None:
            self.register_buffer("teacher_logits", _make_finite(teacher_logits))

    @torch.no_grad()
    def setup(self, network: nn.Module, data: Source) -> None:
        if hasattr(self, "teacher_logits"):
            return
        device = next((str(p.device) for p in network.parameters()), "cpu")
        parts = torch.split(torch.arange(len(data)), ROWS)
        logits = torch.cat([unwrap(network)(data.take(rows, device).x) for rows in parts])
        self.register_buffer("teacher_logits", _make_finite(logits))

    def find_teacher_logits(self, batch: Batch) -> Tensor:
        """Return the teacher's logits for the rows of a batch, `[b, k]` float32.

        Raises:
            ValueError: The batch does not say which rows of the training set it holds.
        """
        if batch.indices is None:
            raise ValueError(f"{type(self).__name__} finds a row's teacher by `batch.indices`")
        return self.teacher_logits[batch.indices]


def _make_finite(logits: Tensor) -> Tensor:
    """Return log-probabilities `[n, k]` float32 of logits `[n, k]`, none below -30."""
    return logits.float().log_softmax(1).clamp(min=MIN_LOG_PROBABILITY)
