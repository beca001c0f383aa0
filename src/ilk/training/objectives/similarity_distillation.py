"""Distillation of similarities: a student's neighbours in a batch become those of a teacher.

Tiancheng Gu and others, 2025, Breaking the Modality Barrier: Universal Embedding Learning with
Multimodal LLMs (UniME, stage 1), arXiv 2504.17432. With unit vectors t of the teacher and z of the
student, both for the rows of one batch:

    L = mean_i KL( softmax_j(t_i t_j / T) || softmax_j(z_i z_j / T) ),  j != i

A departure: a row's similarity with itself, 1 for both, is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.architectures.two_towers import TwoTowers
from ilk.training.batch import Batch
from ilk.training.losses import row_divergences, weighted_mean
from ilk.training.objective import Objective, TrainingStep, unwrap


class SimilarityDistillation(Objective):
    """Text alone: captions `batch.y`, embedded by `TwoTowers`, follow the teacher's similarities.

    Args:
        teacher: Teacher's embedding of every caption, `[m, e]`, of any length; None draws random
            ones of 16 from `seed`, which keeps captions apart and tells nothing else.
        temperature: T of both, > 0.
        seed: Seed of a random teacher.
    """

    teacher: Tensor

    def __init__(
        self, teacher: Tensor | None = None, temperature: float = 0.1, seed: int = 0
    ) -> None:
        super().__init__()
        self.temperature, self.seed = temperature, seed
        if teacher is not None:
            self.register_buffer("teacher", functional.normalize(teacher, dim=1))

    def setup(self, network: nn.Module, data: object) -> None:
        if hasattr(self, "teacher"):
            return
        generator = torch.Generator().manual_seed(self.seed)
        captions = unwrap(network, TwoTowers).captions
        random = torch.randn(len(captions), 16, generator=generator)
        self.register_buffer("teacher", functional.normalize(random, dim=1).to(captions.device))

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        z = unwrap(network, TwoTowers).embed_captions(batch.y)
        losses = similarity_divergences(self.teacher[batch.y], z, self.temperature)
        return weighted_mean(losses, batch.weight)

    @classmethod
    def make_network(cls, d: int, k: int) -> nn.Module:
        return TwoTowers.make_example(d, k)


def similarity_divergences(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Return the divergence of each row's distribution over the other rows, `[n]`.

    Args:
        teacher, student: Unit vectors, `[n, e]` and `[n, f]`, n >= 2.
        temperature: Divides both similarities.
    """
    is_self = torch.eye(len(student), dtype=torch.bool, device=student.device)
    known, own = ((z @ z.T / temperature).masked_fill(is_self, -1e9) for z in (teacher, student))
    return row_divergences(known, own)
