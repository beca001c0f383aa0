"""Pictures, teachers and recipe that both studies share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.datasets import read_cifar_pixels, read_mnist
from benchmarks.shared_files import load_or_compute_arrays
from benchmarks.student_networks import (
    ConvNet,
    compute_logits,
    count_parameters,
    flip_and_shift,
    measure_accuracy,
    standardize,
    train_student,
)
from ilk.training.objective import Augmentation, Objective
from ilk.training.objectives.cross_entropy import CrossEntropy
from ilk.training.optimizers import SGD
from ilk.training.recipe import Recipe
from ilk.training.trainer import Batch

K = 10
CIFAR, MNIST = "CIFAR-10", "MNIST"
N_PER_CLASS, N_TEST = 1_000, 300  # of CIFAR-10
N_MNIST, N_MNIST_TEST = 2_000, 5_000
TEACHER_WIDTHS, STUDENT_WIDTHS = (24, 32, 64, 96), (8, 12, 16, 24)
TEACHER_STEPS, STEPS, BATCH_SIZE = 600, 400, 128
LR, TUNING_LR, WEIGHT_DECAY = 0.05, 0.01, 5e-4
MAX_GRAD_NORM = 20.0


@dataclass(frozen=True, eq=False)
class Setting:
    """What all arms share.

    Attributes:
        name: Of the data set.
        train, test: Pictures and labels.
        teachers: Logits of each teacher for the training rows.
        accuracies: Of each teacher on test rows; the last is that of their mean probability.
        seeds: Seeds of the students.
        steps: Updates of a student.
    """

    name: str
    train: Batch
    test: Batch
    teachers: Sequence[Tensor]
    accuracies: Sequence[float]
    seeds: range
    steps: int

    def make_student(self, seed: int) -> ConvNet:
        """Return a student with random weights."""
        return ConvNet(STUDENT_WIDTHS, K, self.train.x.shape[1], seed=seed)

    def fit(
        self, network: ConvNet, objective: Objective, seed: int, tuning: bool = False
    ) -> ConvNet:
        """Return a network trained for `steps` updates; `tuning` is the recipe of a second run."""
        augment, recipe = _get_augmentation(self.name), make_recipe(self.steps, seed, tuning)
        return train_student(network, self.train, objective, recipe, augment)

    def score(self, network: ConvNet) -> float:
        """Return the accuracy on test rows."""
        return measure_accuracy(compute_logits(network, self.test.x), self.test.y)

    def describe(self) -> dict[str, Any]:
        """Return the sizes of the sets and networks, and the accuracies of teachers."""
        return {
            "training pictures": len(self.train),
            "test pictures": len(self.test),
            "parameters of a teacher": count_parameters(_make_teacher(0, self.train.x.shape[1])),
            "parameters of a student": count_parameters(self.make_student(0)),
            "updates of a student": self.steps,
            "accuracy of teachers": list(self.accuracies[:-1]),
            "accuracy of their mean probability": self.accuracies[-1],
        }


def make_recipe(steps: int, seed: int, tuning: bool = False) -> Recipe:
    """Return SGD with momentum and a linear decay; a second run is slow and without decay."""
    lr, weight_decay = (TUNING_LR, 0.0) if tuning else (LR, WEIGHT_DECAY)
    warmup = min(50, steps // 4)
    return Recipe(
        steps, BATCH_SIZE, lr, warmup, weight_decay, MAX_GRAD_NORM, seed=seed, optimizer=SGD()
    )


def load_setting(name: str, n_teachers: int, small: bool) -> Setting:
    """Return the pictures of a data set, and the answers of its teachers (cached)."""
    train, test = _read_pictures(name, small)
    steps = 12 if small else TEACHER_STEPS

    def compute() -> tuple[Any, ...]:
        answers = []
        for seed in range(n_teachers):
            teacher, recipe = _make_teacher(seed, train.x.shape[1]), make_recipe(steps, seed)
            teacher = train_student(teacher, train, CrossEntropy(), recipe, _get_augmentation(name))
            answers += [compute_logits(teacher, part.x).numpy() for part in (train, test)]
        return tuple(answers)

    key = f"distillation-teachers-{name}-{n_teachers}-{len(train)}-{steps}"
    answers = [torch.from_numpy(a) for a in load_or_compute_arrays(key, compute)]
    on_test = answers[1::2]
    mean = torch.stack([logits.softmax(1) for logits in on_test]).mean(0)
    accuracies = [measure_accuracy(logits, test.y) for logits in (*on_test, mean)]
    seeds = range(2) if small else range(5)
    return Setting(name, train, test, answers[::2], accuracies, seeds, 12 if small else STEPS)


def _read_pictures(name: str, small: bool) -> tuple[Batch, Batch]:
    """Return training and test rows."""
    if name == MNIST:
        n_train, n_test = (200, 200) if small else (N_MNIST, N_MNIST_TEST)
        parts = ((read_mnist("train"), n_train), (read_mnist("test"), n_test))
        draw = np.random.default_rng(0)
        chosen = [(data, draw.permutation(len(data))[:count]) for data, count in parts]
    else:
        n_per_class, n_test = (30, 10) if small else (N_PER_CLASS, N_TEST)
        data = read_cifar_pixels(n_per_class)
        is_test = np.arange(len(data)) % n_per_class < n_test
        chosen = [(data, np.flatnonzero(rows)) for rows in (~is_test, is_test)]
    shape = (1, 28, 28) if name == MNIST else (3, 32, 32)
    train, test = (
        Batch(standardize(data.x[rows], shape), torch.from_numpy(np.array(data.y[rows])))
        for data, rows in chosen
    )
    return train, test


def _get_augmentation(name: str) -> Augmentation | None:
    """Return how pictures change in training; digits stay, so that students fit their labels."""
    return None if name == MNIST else flip_and_shift


def _make_teacher(seed: int, channels: int) -> ConvNet:
    return ConvNet(TEACHER_WIDTHS, K, channels, is_residual=True, seed=100 + seed)
