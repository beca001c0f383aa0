"""Progressive distillation: the loss by hand, and what a group leaves for the next student."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from helpers.small_training import make_step
from ilk.core.errors import InputError
from ilk.training.batch import Batch
from ilk.training.objectives.kd import KD
from ilk.training.objectives.progressive import Progressive
from ilk.training.recipe import Recipe
from ilk.training.trainer import train


def make_rows(n=12, k=3):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 4, generator=generator)
    y = torch.where(torch.arange(n) % 2 == 0, torch.arange(n) % k, -1)
    teacher, group = (2 * torch.randn(n, k, generator=generator) for _ in range(2))
    return Batch(x, y, torch.arange(n)), teacher, group


def test_the_loss_by_hand():
    batch, teacher, group = make_rows()
    torch.manual_seed(0)
    network = nn.Linear(4, 3)
    loss = Progressive(teacher, group, 0.3, 4.0)(network, batch, make_step())
    total, is_labelled = network(batch.x) + group, batch.y >= 0
    divergence = functional.kl_div(
        (total / 4).log_softmax(1), (teacher / 4).softmax(1), reduction="batchmean"
    )
    label_loss = functional.cross_entropy(total[is_labelled], batch.y[is_labelled])
    torch.testing.assert_close(loss, 0.3 * label_loss + 0.7 * 16 * divergence)


def test_without_a_group_it_is_plain_distillation():
    batch, teacher, _ = make_rows()
    network = nn.Linear(4, 3)
    losses = [
        objective(network, batch, make_step())
        for objective in (Progressive(teacher), KD(teacher, 4.0, 0.5))
    ]
    torch.testing.assert_close(*losses)


def test_a_group_that_equals_the_teacher_leaves_nothing_to_learn():
    batch, teacher, _ = make_rows()
    network = nn.Linear(4, 3)
    nn.init.zeros_(network.weight)
    nn.init.zeros_(network.bias)
    loss = Progressive(teacher, teacher + 5, label_weight=0.0)(network, batch, make_step())
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-5)
    torch.testing.assert_close(network.weight.grad, torch.zeros(3, 4), atol=1e-6, rtol=0)


def test_the_next_student_learns_the_difference_between_teacher_and_group():
    """A linear teacher minus a linear group is linear, which a linear student finds exactly."""
    batch, _, _ = make_rows(200)
    torch.manual_seed(3)
    teacher, first, student = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 3)
    with torch.no_grad():
        answers, group = teacher(batch.x), first(batch.x)
    objective = Progressive(answers, group, label_weight=0.0, temperature=2.0)
    rows = Batch(batch.x, batch.y)
    found = train(student, rows, objective, Recipe(300, 50, 3e-2, 10, 0.0))
    with torch.no_grad():
        p = (found(batch.x) + group).softmax(1)
    torch.testing.assert_close(p, answers.softmax(1), atol=5e-3, rtol=0)


def test_settings_out_of_range_are_refused():
    with pytest.raises(InputError, match="temperature 0 above 0"):
        Progressive(temperature=0)
    with pytest.raises(InputError, match="group_logits must be a tensor"):
        Progressive(group_logits=3)
