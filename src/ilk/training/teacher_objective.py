"""What every loss of distillation shares: a fixed teacher whose answers were computed once.

A distillation loss is a file of `training/objectives/` whose class extends `TeacherObjective`. Its
first argument is the teacher, the others are settings with defaults, so that `ilk distill --loss
"KD(temperature=2)"` builds it from a name. An objective that needs features takes them from
`unwrap(network).forward_features(x) -> [n, f]`, which every student has, and `fc` is the student's
linear head; a second head is a layer of the objective that `setup` creates.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ilk.training.batch import Batch
from ilk.training.losses import labelled_cross_entropy, row_divergences, weighted_mean
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
    takes_sources: ClassVar[bool] = False
    """Whether it takes the answers of each of several teachers, `[n, k_s]` each with classes of its
    own, and `similarities` to the task, in place of one teacher's; see `SimilarSources`."""

    def __init__(self, teacher_logits: Tensor | None = None) -> None:
        super().__init__()
        if teacher_logits is not None:
            self.register_buffer("teacher_logits", _make_finite(teacher_logits))

    def setup(self, network: nn.Module, data: Source) -> None:
        if not hasattr(self, "teacher_logits"):
            self.register_buffer("teacher_logits", _make_finite(compute_logits(network, data)))

    def find_teacher_logits(self, batch: Batch) -> Tensor:
        """Return the teacher's logits for the rows of a batch, `[b, k]` float32.

        Raises:
            ValueError: The batch does not say which rows of the training set it holds.
        """
        if batch.indices is None:
            raise ValueError(f"{type(self).__name__} finds a row's teacher by `batch.indices`")
        return self.teacher_logits[batch.indices]


@torch.no_grad()
def compute_logits(network: nn.Module, data: Source) -> Tensor:
    """Return the logits of a network for every row of a training set, `[n, k]`."""
    device = next((str(p.device) for p in network.parameters()), "cpu")
    parts = torch.split(torch.arange(len(data)), ROWS)
    return torch.cat([unwrap(network)(data.take(rows, device).x) for rows in parts])


def compute_soft_loss(
    logits: Tensor, teacher_logits: Tensor, batch: Batch, temperature: float, label_weight: float
) -> Tensor:
    """Return `(1 - a) T^2 mean KL(softmax(t / T) || softmax(z / T)) + a mean CE(z, y)`, a scalar.

    Geoffrey Hinton, Oriol Vinyals, Jeff Dean, 2015, arXiv 1503.02531, section 2. Rows without a
    label have the first term alone.

    Args:
        logits: z, of the student, `[b, k]`.
        teacher_logits: t, `[b, k]`.
        batch: Labels y and weights of the rows.
        temperature: T, > 0.
        label_weight: a, in [0, 1].
    """
    losses = row_divergences(teacher_logits / temperature, logits / temperature)
    loss = (1 - label_weight) * temperature**2 * weighted_mean(losses, batch.weight)
    if not label_weight:
        return loss
    return loss + label_weight * labelled_cross_entropy(logits, batch.y, batch.weight)


def _make_finite(logits: Tensor) -> Tensor:
    """Return log-probabilities `[n, k]` float32 of logits `[n, k]`, none below -30."""
    return logits.float().log_softmax(1).clamp(min=MIN_LOG_PROBABILITY)
