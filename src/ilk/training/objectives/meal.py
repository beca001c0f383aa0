"""MEAL V2: only the averaged probabilities of teachers, and a discriminator of final answers.

Zhiqiang Shen, Marios Savvides, 2020, MEAL V2: Boosting Vanilla ResNet-50 to 80%+ Top-1 Accuracy on
ImageNet without Tricks, arXiv 2009.08453. With z the student's logits, t_m those of teacher m, and
D a small network of logits with two outputs,

    L = CE( mean_m softmax(t_m), softmax(z) ) + BCE( D(z), (1, 0) ) + BCE( D(t), (0, 1) )

without labels and, in the recipe, without weight decay, from a student that is already trained. D
has k, k / 8, k / 64 and 2 units, and a rectifier after each layer, the last one too.

The paper calls the second term adversarial. In the authors' code one loss is minimized by student
and D alike, so that they work together to tell the student from the teachers; `discriminator` has
that ("together"), the reversed gradient of a real adversary ("adversarial"), and none. The learning
rate 1e-4 that the code sets for D is overwritten by the student's at the first epoch; here D has
the student's.

Departures: t is the logarithm of the averaged probabilities, and D reads z and t centred over the
classes, since their shift, which changes no answer, would tell them apart; its hidden layers have
at least 16 and 8 units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.errors import InputError
from ilk.training.batch import Batch
from ilk.training.losses import weighted_mean
from ilk.training.objective import TrainingStep
from ilk.training.objectives.domain_adversarial import reverse_gradient
from ilk.training.sources import Source
from ilk.training.student_features import make_linear
from ilk.training.teacher_objective import TeacherObjective

Game = Literal["together", "adversarial", "none"]
GAMES = ("together", "adversarial", "none")
SHRINK, MIN_UNITS = 8, (16, 8)


class MEAL(TeacherObjective):
    """Cross-entropy to the teachers' mean probability, and a discriminator of the final answers.

    Args:
        teacher_logits: As for `TeacherObjective`, `[n, k]`, or one for each of several teachers.
        discriminator: How student and discriminator play; see the file.
        label_weight: Part of the cross-entropy that the labels get, in [0, 1]; 0 in the paper.
        seed: Seed of the discriminator's weights.
    """

    discriminator: nn.Module

    def __init__(
        self,
        teacher_logits: Tensor | Sequence[Tensor] | None = None,
        discriminator: Game = "together",
        label_weight: float = 0.0,
        seed: int = 0,
    ) -> None:
        if discriminator not in GAMES:
            raise InputError(
                f"discriminator is {discriminator!r}; it must be one of {', '.join(GAMES)}"
            )
        if not 0 <= label_weight <= 1:
            raise InputError(f"label_weight is {label_weight}; it must be from 0 to 1")
        if teacher_logits is not None and not isinstance(teacher_logits, Tensor):
            teacher_logits = average_teachers(teacher_logits)
        super().__init__(teacher_logits)
        self.game, self.label_weight, self.seed = discriminator, label_weight, seed

    def setup(self, network: nn.Module, data: Source) -> None:
        super().setup(network, data)
        if self.game == "none":
            return
        k = self.teacher_logits.shape[1]
        first, second = max(k // SHRINK, MIN_UNITS[0]), max(k // SHRINK**2, MIN_UNITS[1])
        sizes = ((k, first), (first, second), (second, 2))
        layers: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(sizes):
            layers += [make_linear(inputs, outputs, self.teacher_logits, self.seed + i), nn.ReLU()]
        self.discriminator = nn.Sequential(*layers)

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        teacher, logits = self.find_teacher_logits(batch), network(batch.x).float()
        log_p = logits.log_softmax(1)
        soft = -(teacher.softmax(1) * log_p).sum(1)
        if self.label_weight:
            hard = -log_p.gather(1, batch.y.clamp(min=0)[:, None])[:, 0]
            share = self.label_weight * (batch.y >= 0).to(soft.dtype)
            soft = (1 - share) * soft + share * hard
        loss = weighted_mean(soft, batch.weight)
        if self.game == "none":
            return loss
        return loss + self.compute_discrimination(logits, teacher, batch.weight)

    def compute_discrimination(
        self, logits: Tensor, teacher: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """Return the discriminator's loss, a scalar: the mean over both outputs and both sides.

        Args:
            logits: Of the student, `[n, k]`.
            teacher: Logits of the teacher, `[n, k]`.
            weight: Weight of each row, `[n]`.
        """
        student = reverse_gradient(logits, 1.0) if self.game == "adversarial" else logits
        losses = []
        for values, tags in ((student, (1.0, 0.0)), (teacher, (0.0, 1.0))):
            answers = self.discriminator(values - values.mean(1, keepdim=True))
            target = answers.new_tensor(tags).expand_as(answers)
            both = functional.binary_cross_entropy_with_logits(answers, target, reduction="none")
            losses.append(weighted_mean(both.mean(1), weight))
        return (losses[0] + losses[1]) / 2


def average_teachers(teacher_logits: Sequence[Tensor]) -> Tensor:
    """Return the log of the mean probability of several teachers, `[n, k]`.

    Args:
        teacher_logits: Logits of each, `[n, k]`.

    Raises:
        InputError: There is none, or they differ in shape.
    """
    shapes = {tuple(logits.shape) for logits in teacher_logits}
    if len(shapes) != 1:
        raise InputError(
            f"teachers must answer the same rows with the same classes; their answers have the "
            f"shapes {sorted(shapes)}"
        )
    log_p = torch.stack([logits.log_softmax(1) for logits in teacher_logits])
    mean: Tensor = log_p.logsumexp(0) - torch.tensor(float(len(log_p))).log()
    return mean
