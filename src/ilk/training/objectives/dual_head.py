"""DHKD: cross-entropy and distillation of logits, in a head of their own each.

Penghui Yang, Chen-Chen Zong, Sheng-Jun Huang, Lei Feng, Bo An, 2024, Dual-Head Knowledge
Distillation: Enhancing Logits Utilization with an Auxiliary Head, arXiv 2411.08937. With logits z
of the main head, u of the auxiliary head, and t of the teacher:

    L = CE(z, y) + alpha T^2 mean_i sum_k KL( 1/2 || sigmoid((u_ik - t_ik) / T) )
    KL(1/2 || p) = -1/2 log(4 p (1 - p))

and, with g and h the gradients of the two terms over all parameters of the network, h loses its
part along g where they conflict (g is never changed):

    h <- h - min(0, <h, g>) / |g|^2 g

The auxiliary head is thrown away. In one head (`shared`) the terms contradict each other: the first
has no finite minimum, the second has its minimum at u = t.

Departures: a teacher is known by its probabilities, so that t, their logarithms, are centred over
the classes, as logits of a network roughly are; rows without a label take the teacher's answer for
one, since otherwise they would not reach the main head.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.training.batch import Batch
from ilk.training.losses import mean_cross_entropy, weighted_mean
from ilk.training.objective import TrainingStep, unwrap
from ilk.training.sources import Source
from ilk.training.student_features import RowStudent, compute_features, find_head, make_linear
from ilk.training.teacher_objective import TeacherObjective

EPSILON = 1e-8  # probabilities stay this far from 0 and 1


class DualHead(TeacherObjective):
    """Labels train the student's head, the teacher's logits an auxiliary one; features are shared.

    Args:
        teacher_logits: As for `TeacherObjective`, `[n, k]`.
        alpha: Weight of the distillation, >= 0.
        label_weight: Weight of the cross-entropy, >= 0.
        temperature: T, > 0.
        hidden: Units of the auxiliary head's hidden layer; 0 makes it linear.
        aligned: Remove from the distillation's gradient what conflicts with the labels'.
        shared: Both terms in the student's head, which is what two heads are to avoid.
        seed: Seed of the auxiliary head's weights.
    """

    auxiliary: nn.Module

    def __init__(
        self,
        teacher_logits: Tensor | None = None,
        alpha: float = 1.0,
        label_weight: float = 1.0,
        temperature: float = 2.0,
        hidden: int = 200,
        aligned: bool = True,
        shared: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(teacher_logits)
        if alpha < 0 or label_weight < 0 or not temperature > 0 or hidden < 0:
            raise InputError(
                f"alpha {alpha}, label_weight {label_weight} and hidden {hidden} must be at least "
                f"0, temperature {temperature} above 0"
            )
        self.alpha, self.label_weight, self.temperature = alpha, label_weight, temperature
        self.hidden, self.aligned, self.shared, self.seed = hidden, aligned, shared, seed

    def setup(self, network: nn.Module, data: Source) -> None:
        super().setup(network, data)
        if self.shared:
            return
        head = find_head(network)
        f, k = head.in_features, self.teacher_logits.shape[1]
        if not self.hidden:
            self.auxiliary = make_linear(f, k, head.weight, self.seed)
            return
        self.auxiliary = nn.Sequential(
            make_linear(f, self.hidden, head.weight, self.seed),
            nn.ReLU(),
            make_linear(self.hidden, k, head.weight, self.seed + 1),
        )

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        label_loss, logit_loss = self.compute_losses(network, batch)
        if not self.aligned:
            return label_loss + logit_loss
        parameters = [p for m in (unwrap(network), self) for p in m.parameters() if p.requires_grad]
        return add_aligned(label_loss, logit_loss, parameters)

    def compute_losses(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the weighted cross-entropy and the weighted distillation, scalars."""
        teacher = self.find_teacher_logits(batch)
        features, logits = compute_features(network, batch.x)
        logits = logits.float()
        student = logits if self.shared else self.auxiliary(features).float()
        y = torch.where(batch.y < 0, teacher.argmax(1), batch.y)
        target = teacher - teacher.mean(1, keepdim=True)
        losses = binary_divergences(student, target, self.temperature)
        return (
            self.label_weight * mean_cross_entropy(logits, y, batch.weight),
            self.alpha * weighted_mean(losses, batch.weight),
        )

    @classmethod
    def make_network(cls, d: int, k: int) -> nn.Module:
        return RowStudent(d, 8, k)


def binary_divergences(logits: Tensor, teacher_logits: Tensor, temperature: float = 2.0) -> Tensor:
    """Return `T^2 sum_k KL(1/2 || sigmoid((z_k - t_k) / T))` of each row, `[n]`, >= 0.

    Args:
        logits: z of the student, `[n, k]`.
        teacher_logits: t, `[n, k]`.
        temperature: T, > 0.
    """
    p = torch.sigmoid((logits - teacher_logits) / temperature).clamp(EPSILON, 1 - EPSILON)
    divergences = -(p.log() + (1 - p).log()) / 2 - math.log(2)
    return temperature**2 * divergences.sum(1)


def add_aligned(first: Tensor, second: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    """Return the sum of two losses, whose gradient is that of `first` and the aligned `second`.

    Args:
        first: The loss whose gradient stays as it is, a scalar.
        second: The loss whose gradient gives way, a scalar.
        parameters: Over all of which the gradients are compared.
    """
    gradients = [
        torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
        for loss in (first, second)
    ]
    merged = align(gradients[0], gradients[1])
    total = torch.stack([(p * g).sum() for p, g in zip(parameters, merged, strict=True)]).sum()
    return (first + second).detach() + total - total.detach()


def align(kept: tuple[Tensor, ...], changed: tuple[Tensor, ...]) -> list[Tensor]:
    """Return the sum of two gradients, the second without its part against the first.

    Args:
        kept, changed: Gradients of the same parameters, each of its shape `[...]`.
    """
    pairs = list(zip(kept, changed, strict=True))
    product = torch.stack([(g * h).sum() for g, h in pairs]).sum()
    square = torch.stack([(g * g).sum() for g in kept]).sum()
    share = product.clamp(max=0) / square.clamp(min=torch.finfo(square.dtype).tiny)
    return [(1 - share) * g + h for g, h in pairs]
