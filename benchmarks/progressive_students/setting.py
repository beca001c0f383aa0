"""Digits, teacher, students and recipe that all arms share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.datasets import read_mnist
from benchmarks.shared_files import load_or_compute_arrays
from benchmarks.student_networks import (
    ConvNet,
    compute_logits,
    count_parameters,
    measure_accuracy,
    standardize,
    train_student,
)
from ilk.architectures.mamba import MambaStudent
from ilk.training.objective import Objective
from ilk.training.objectives.cross_entropy import CrossEntropy
from ilk.training.objectives.progressive import Progressive
from ilk.training.optimizers import AdamW
from ilk.training.recipe import Recipe
from ilk.training.trainer import Batch

GRU, TEACHER = "GRU of as many multiplications", "teacher"
WIDTHS = (32, 16, 8)
TEACHER_WIDTHS, HIDDEN = (24, 32, 64, 96), 67
N_TRAIN, TEACHER_STEPS, STEPS, BATCH_SIZE = 10_000, 600, 700, 64
TEACHER_LR, LR = 4e-3, 1e-2
SHAPE, ROWS, K = (1, 28, 28), 14, 10


class RecurrentStudent(nn.Module):
    """A GRU over the rows of a digit, and a linear head on its last state."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.gru, self.fc = nn.GRU(ROWS, HIDDEN, batch_first=True), nn.Linear(HIDDEN, K)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[n, k]` of digits `[n, 1, 14, 14]`."""
        return self.fc(self.gru(x[:, 0])[0][:, -1])  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class Setting:
    """What all arms share.

    Attributes:
        train, test: Digits of 14 x 14 pixels, for students, and labels.
        teacher_logits: Of the training digits, `[n, k]`.
        teacher_accuracy: On test digits.
        seeds: Seeds of the students.
        steps: Updates of a student.
    """

    train: Batch
    test: Batch
    teacher_logits: Tensor
    teacher_accuracy: float
    seeds: range
    steps: int

    def train_student(
        self, width: int, seed: int, teacher: Tensor | None, group: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of training and test digits; without a teacher, labels alone train."""
        objective = CrossEntropy() if teacher is None else Progressive(teacher, group)
        network = self._fit(make_student(width, seed), objective, seed)
        return compute_logits(network, self.train.x), compute_logits(network, self.test.x)

    def score_recurrent(self, seed: int) -> float:
        """Return the test accuracy of the recurrent network, distilled from the teacher."""
        network = self._fit(RecurrentStudent(seed), Progressive(self.teacher_logits), seed)
        return measure_accuracy(compute_logits(network, self.test.x), self.test.y)

    def _fit(self, network: nn.Module, objective: Objective, seed: int) -> nn.Module:
        return train_student(network, self.train, objective, make_recipe(self.steps, seed))

    def describe(self) -> dict[str, Any]:
        """Return parameters and multiplications of every network."""
        students = [make_student(width, 0) for width in WIDTHS]
        teacher, recurrent = _make_teacher(), RecurrentStudent(0)
        multiplications = {
            f"student of {width} channels": student.count_multiply_adds()
            for width, student in zip(WIDTHS, students, strict=True)
        }
        weights = dict(recurrent.gru.named_parameters()).items()
        gates = sum(p.numel() for name, p in weights if name.startswith("weight"))
        return {
            "parameters": {
                **{
                    f"student of {width} channels": count_parameters(student)
                    for width, student in zip(WIDTHS, students, strict=True)
                },
                GRU: count_parameters(recurrent),
                TEACHER: count_parameters(teacher),
            },
            "multiplications": {
                **multiplications,
                "group": sum(multiplications.values()),
                GRU: gates * ROWS + recurrent.fc.weight.numel(),
                TEACHER: count_multiplications(teacher, torch.zeros(1, *SHAPE)),
            },
        }


def make_student(width: int, seed: int) -> MambaStudent:
    """Return one Mamba block of `width` channels with random weights."""
    return MambaStudent(width, 1, K, SHAPE[0], (ROWS, ROWS), seed=seed)


def make_recipe(steps: int, seed: int, lr: float = LR) -> Recipe:
    """Return AdamW with a linear decay."""
    return Recipe(
        steps, BATCH_SIZE, lr, min(40, steps // 4), 0.01, 1.0, seed=seed, optimizer=AdamW()
    )


def sum_logits(answers: Sequence[Tensor]) -> Tensor:
    """Return the sum of logits `[n, k]`, which ranks classes as their mean does."""
    return torch.stack(list(answers)).sum(0)


@torch.inference_mode()
def count_multiplications(network: ConvNet, x: Tensor) -> int:
    """Return the multiplications of convolutions and linear layers for one picture."""
    counts: list[int] = []

    def count(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        weight: Tensor = module.weight  # type: ignore[assignment]
        counts.append(weight.numel() * output[0, 0].numel())

    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    network.eval()(x)
    for hook in hooks:
        hook.remove()
    return sum(counts)


def load_setting(small: bool) -> Setting:
    """Return the digits and the answers of the teacher (cached)."""
    n_train, n_test = (200, 200) if small else (N_TRAIN, 10_000)
    draw = np.random.default_rng(0)
    parts = []
    for part, count in (("train", n_train), ("test", n_test)):
        data = read_mnist(part)
        rows = draw.permutation(len(data))[:count]
        y = torch.from_numpy(np.array(data.y[rows], np.int64))
        parts.append(Batch(standardize(data.x[rows], SHAPE), y))
    train, test = parts
    steps = 8 if small else TEACHER_STEPS

    def compute() -> tuple[Any, ...]:
        recipe = make_recipe(steps, 0, TEACHER_LR)
        teacher = train_student(_make_teacher(), train, CrossEntropy(), recipe)
        return tuple(compute_logits(teacher, part.x).numpy() for part in (train, test))

    key = f"progressive-teacher-{n_train}-{steps}"
    on_train, on_test = (torch.from_numpy(a) for a in load_or_compute_arrays(key, compute))
    accuracy = measure_accuracy(on_test, test.y)
    seeds = range(2) if small else range(5)
    train, test = (Batch(functional.avg_pool2d(part.x, 2), part.y) for part in parts)
    return Setting(train, test, on_train, accuracy, seeds, 8 if small else STEPS)


def _make_teacher() -> ConvNet:
    return ConvNet(TEACHER_WIDTHS, K, SHAPE[0], is_residual=True, seed=100)
