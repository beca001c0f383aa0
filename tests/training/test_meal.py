"""MEAL V2: the loss by hand, and which way the discriminator's gradient goes."""

import pytest
import torch
from torch.nn import functional

from helpers.small_training import make_step
from ilk.core.errors import InputError
from ilk.training.batch import Batch
from ilk.training.objectives.meal import MEAL, average_teachers
from ilk.training.recipe import Recipe
from ilk.training.student_features import RowStudent
from ilk.training.trainer import train

N, K = 10, 5


def make_rows():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, 4, generator=generator)
    teachers = [2 * torch.randn(N, K, generator=generator) for _ in range(3)]
    return Batch(x, torch.arange(N) % K, torch.arange(N)), teachers


def make_objective(teachers, **settings):
    torch.manual_seed(2)
    network, objective = RowStudent(4, 8, K), MEAL(teachers, **settings)
    objective.setup(network, make_rows()[0])
    return network, objective


def test_teachers_are_averaged_after_the_softmax():
    _, teachers = make_rows()
    expected = torch.stack([t.softmax(1) for t in teachers]).mean(0)
    torch.testing.assert_close(average_teachers(teachers).exp(), expected)
    with pytest.raises(InputError, match="same rows with the same classes"):
        average_teachers([teachers[0], teachers[1][:, 1:]])


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_soft_loss_by_hand_with_labels_and_without(share):
    batch, teachers = make_rows()
    y = torch.where(torch.arange(N) < 4, batch.y, -1)
    network, objective = make_objective(teachers, discriminator="none", label_weight=share)
    loss = objective(network, Batch(batch.x, y, batch.indices), make_step())
    p = torch.stack([t.softmax(1) for t in teachers]).mean(0)
    target = p.clone()
    target[:4] = (1 - share) * p[:4] + share * functional.one_hot(y[:4], K)
    torch.testing.assert_close(loss, functional.cross_entropy(network(batch.x), target))


def discriminate(game):
    """Gradients of the discriminator's loss for the student's logits, and for itself."""
    _, teachers = make_rows()
    _, objective = make_objective(teachers[0], discriminator=game)
    with torch.no_grad():
        objective.discriminator[4].bias.fill_(1.0)  # the last rectifier is open
    logits = torch.linspace(-1, 2, N * K).reshape(N, K).cos().requires_grad_()
    loss = objective.compute_discrimination(logits, teachers[0])
    own = list(objective.discriminator.parameters())
    return loss, torch.autograd.grad(loss, [logits, *own]), (logits, objective, teachers[0])


def test_the_adversarys_student_climbs_what_the_discriminator_descends():
    loss, together, _ = discriminate("together")
    other_loss, adversarial, _ = discriminate("adversarial")
    torch.testing.assert_close(loss, other_loss)
    assert bool((together[0] != 0).any())
    torch.testing.assert_close(adversarial[0], -together[0])
    for one, other in zip(together[1:], adversarial[1:], strict=True):
        torch.testing.assert_close(one, other)


def test_the_discriminators_loss_by_hand():
    loss, _, (logits, objective, teacher) = discriminate("together")
    rows = torch.cat([logits, teacher])
    answers = objective.discriminator(rows - rows.mean(1, keepdim=True))
    assert float(answers.detach().min()) >= 0  # it ends in a rectifier
    tags = torch.tensor([[1.0, 0.0]] * N + [[0.0, 1.0]] * N)
    expected = functional.binary_cross_entropy_with_logits(answers, tags)
    torch.testing.assert_close(loss, expected)


def test_a_step_of_the_student_changes_how_well_it_is_told_apart():
    for game, direction in (("together", -1), ("adversarial", 1)):
        loss, gradients, (logits, objective, teacher) = discriminate(game)
        moved = logits.detach() - 1.0 * gradients[0]
        change = objective.compute_discrimination(moved, teacher) - loss
        assert float(change.detach()) * direction > 0


def test_the_discriminator_is_trained_and_has_the_sizes_of_the_paper():
    sizes = [tuple(p.shape) for p in make_objective([torch.zeros(N, 1000)])[1].parameters()]
    assert sizes[::2] == [(125, 1000), (15, 125), (2, 15)]
    batch, teachers = make_rows()
    network, objective = make_objective(teachers)
    before = objective.discriminator[0].weight.clone()
    train(network, Batch(batch.x, batch.y), objective, Recipe(3, 5, 1e-2, 0))
    assert not torch.equal(before, objective.discriminator[0].weight)


def test_settings_out_of_range_are_refused():
    with pytest.raises(InputError, match="must be one of together, adversarial, none"):
        MEAL(discriminator="fair")
    with pytest.raises(InputError, match="label_weight is 2; it must be from 0 to 1"):
        MEAL(label_weight=2)
