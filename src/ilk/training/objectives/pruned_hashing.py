"""Hash codes by students that drop tokens, taught by a network that keeps all of them.

Xin Jiang, Hao Tang, Yonghua Pan, Zechao Li, 2025, Rethinking Vision Transformer for Large-Scale
Fine-Grained Image Retrieval, arXiv 2504.16691. With the code h and the logits z of a network, b_y
the fixed code of class y (see `ilk.maths.class_codes`), and x' the image without the 4 patches to
which the teacher attends most,

    teacher: CE(z, y) + |h - b_y|^2
    student: 0.1 (CE(z, y) + CE(z(x'), y)) + |h - b_y|^2 + 1 - cos(h, h_teacher)

means over rows and bits; teacher and students learn at the same time, and the teacher does not see
the students. A student that is not taught has `0.1 CE(z, y) + |h - b_y|^2`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.architectures.token_pruning_transformer import (
    Pruning,
    TokenPruningTransformer,
    TransformerOutput,
)
from ilk.maths.class_codes import make_class_codes
from ilk.training.batch import Batch
from ilk.training.objective import Objective, TrainingStep, unwrap
from ilk.training.sources import Source

HIDDEN_PATCHES, CLASS_WEIGHT = 4, 0.1


class TeacherAndStudents(nn.Module):
    """A teacher and its students; codes are those of the first student.

    Args:
        teacher: Keeps all tokens.
        students: At least one.
        is_taught: Whether each student learns from the teacher; None is all.
    """

    def __init__(
        self,
        teacher: TokenPruningTransformer,
        students: Sequence[TokenPruningTransformer],
        is_taught: Sequence[bool] | None = None,
    ) -> None:
        super().__init__()
        self.teacher, self.students = teacher, nn.ModuleList(students)
        self.is_taught = [True] * len(students) if is_taught is None else list(is_taught)

    def forward(
        self, x: Tensor, generator: torch.Generator | None = None
    ) -> list[TransformerOutput]:
        """Return the outputs of the teacher, of each student, and of those that are taught for
        images `[n, c, h, w]` without the patches that the teacher looks at most, in this order."""
        first = self.teacher.compute(x, generator)
        outputs = [first, *(s.compute(x, generator) for s in self.students)]  # type: ignore[operator]
        if any(self.is_taught):
            top = first.attention.topk(min(HIDDEN_PATCHES, first.attention.shape[1]), 1).indices
            hidden = self.teacher.hide_patches(x, first.tokens.gather(1, top))
            for student, taught in zip(self.students, self.is_taught, strict=True):
                if taught:
                    outputs.append(student.compute(hidden, generator))  # type: ignore[operator]
        return outputs


class PrunedHashing(Objective):
    """The loss of a teacher and its students; all rows are labelled.

    Args:
        seed: Seed of the codes of the classes.

    Attributes:
        targets: Code of each class, `[k, bits]`.
    """

    supports_weights = False

    targets: Tensor

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed

    def setup(self, network: nn.Module, data: Source) -> None:
        layer = unwrap(network, TeacherAndStudents).teacher.hash_layer
        codes = make_class_codes(layer.in_features, layer.out_features, self.seed)
        self.register_buffer("targets", torch.from_numpy(codes).to(layer.weight.device))

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        pair = unwrap(network, TeacherAndStudents)
        outputs = network(batch.x, step.generator)
        target, students = self.targets[batch.y], outputs[1 : 1 + len(pair.students)]
        hidden = iter(outputs[1 + len(pair.students) :])
        teacher = outputs[0]
        loss = functional.cross_entropy(teacher.logits, batch.y)
        loss = loss + functional.mse_loss(teacher.code, target)
        for student, taught in zip(students, pair.is_taught, strict=True):
            classes = functional.cross_entropy(student.logits, batch.y)
            loss = loss + functional.mse_loss(student.code, target)
            if taught:
                classes = classes + functional.cross_entropy(next(hidden).logits, batch.y)
                cosine = functional.cosine_similarity(student.code, teacher.code.detach(), 1)
                loss = loss + (1 - cosine).mean()
            loss = loss + CLASS_WEIGHT * classes
        return loss

    @classmethod
    def make_network(cls, d: int, k: int) -> nn.Module:
        """Return a pair of networks for rows of `d` values, each a patch of one."""
        settings: dict[str, Any] = {"bits": 4, "width": 8, "depth": 2, "heads": 2}
        student = _Rows((1, 1, d), 1, k, pruning=Pruning(((1, max(1, d // 2)),)), **settings)
        return TeacherAndStudents(_Rows((1, 1, d), 1, k, **settings), [student])


class _Rows(TokenPruningTransformer):
    """A transformer of rows `[n, d]` in place of images."""

    def compute(self, x: Tensor, generator: torch.Generator | None = None) -> TransformerOutput:
        return super().compute(x.reshape(len(x), 1, 1, -1), generator)

    def hide_patches(self, x: Tensor, tokens: Tensor) -> Tensor:
        return super().hide_patches(x.reshape(len(x), 1, 1, -1), tokens)
