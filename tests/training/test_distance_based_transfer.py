"""Two numbers per image: by hand, and against the soft label that they stand for."""

import math

import pytest
import torch

from helpers.small_training import make_step
from ilk.training.batch import Batch
from ilk.training.objectives.distance_based_transfer import (
    DistanceBasedTransfer,
    compute_distances,
)


class Fixed(torch.nn.Module):
    """Logits whatever the images."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def forward(self, x):
        return self.logits[: len(x)]


def test_the_two_numbers_by_hand():
    q = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
    found = compute_distances(q.log(), torch.tensor([0, 1]), 0.3)
    first = [-math.log(0.5), -math.log(0.8)]
    second = [
        0.8 * -math.log(0.5) + 0.1 * -math.log(0.25) * 2,
        0.8 * -math.log(0.8) + 0.1 * -math.log(0.1) * 2,
    ]
    assert found[:, 0].tolist() == pytest.approx(first)
    assert found[:, 1].tolist() == pytest.approx(second)


def compute_loss(student, teacher, y, weight=None, strength=1.0):
    batch = Batch(torch.zeros(len(y), 1), y, torch.arange(len(y)), weight)
    objective = DistanceBasedTransfer(teacher, strength)
    network = Fixed(student)
    objective.setup(network, batch)
    return objective(network, batch, make_step())


def test_the_loss_by_hand():
    y = torch.tensor([0, 1])
    student = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
    teacher = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
    weight = torch.tensor([1.0, 3.0])
    expected = 0.0
    for i, c in enumerate(y.tolist()):
        p, q = student[i].tolist(), teacher[i].tolist()
        soft = [0.5 * (j == c) + 0.5 / 3 for j in range(3)]
        d1 = abs(math.log(p[c]) - math.log(q[c]))
        d2 = abs(sum(s * (math.log(b) - math.log(a)) for s, a, b in zip(soft, p, q, strict=True)))
        expected += weight[i].item() / 4 * (-math.log(p[c]) + 2.0 * (d1 + d2))
    found = compute_loss(student.log(), teacher.log(), y, weight, 2.0)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_a_student_like_its_teacher_pays_for_the_label_alone():
    y, logits = torch.tensor([2, 0]), torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.cross_entropy(logits, y)
    torch.testing.assert_close(compute_loss(logits, logits.clone(), y), expected)


def test_of_two_classes_the_first_number_is_the_soft_label():
    teacher = torch.tensor([[0.6, -0.3]])
    student = Fixed(torch.tensor([[2.0, -1.0]]))
    objective = DistanceBasedTransfer(teacher, weight=5.0)
    batch = Batch(torch.zeros(1, 1), torch.tensor([0]), torch.arange(1))
    objective.setup(student, batch)
    optimizer = torch.optim.SGD(student.parameters(), 0.02)
    for _ in range(600):
        optimizer.zero_grad()
        objective(student, batch, make_step()).backward()
        optimizer.step()
    found = student.logits.detach().softmax(1)
    torch.testing.assert_close(found, teacher.softmax(1), atol=0.02, rtol=0)


def test_two_numbers_per_row_are_all_that_is_kept():
    objective = DistanceBasedTransfer(torch.randn(5, 7))
    objective.setup(Fixed(torch.zeros(5, 7)), Batch(torch.zeros(5, 1), torch.arange(5)))
    assert sum(buffer.numel() for buffer in objective.buffers()) == 10
    assert objective.teacher_logits is None
