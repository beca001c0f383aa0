"""The divergence from a teacher, against a second derivation and its limiting cases."""

import pytest
import torch
from torch.nn import functional

from helpers.small_training import make_step
from ilk.core.errors import InputError
from ilk.training.batch import Batch
from ilk.training.objectives.kd import KD
from ilk.training.teacher_objective import MIN_LOG_PROBABILITY

N, K = 12, 4


class Answers(torch.nn.Module):
    """A network whose logits are its input."""

    def forward(self, x):
        return x


def make_rows(labelled=N, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(N, K, generator=generator, dtype=torch.float64).float()
    y = torch.randint(0, K, (N,), generator=generator)
    y[labelled:] = -1
    teacher = 3 * torch.randn(N, K, generator=generator)
    return Batch(x, y, torch.arange(N)), teacher


def compute(batch, teacher, **settings):
    return KD(teacher, **settings)(Answers(), batch, make_step())


def test_the_loss_is_the_formula_of_the_paper():
    batch, teacher = make_rows(labelled=7)
    t, a = 3.0, 0.25
    divergence = functional.kl_div(
        (batch.x / t).log_softmax(1), (teacher / t).softmax(1), reduction="batchmean"
    )
    expected = (1 - a) * t * t * divergence + a * functional.cross_entropy(batch.x[:7], batch.y[:7])
    loss = compute(batch, teacher, temperature=t, label_weight=a)
    torch.testing.assert_close(loss, expected)


def test_a_weight_counts_a_row_so_often_in_both_terms():
    batch, teacher = make_rows(labelled=7)
    often = torch.tensor([0, 0, 1, 3, 3, 3, 8, 9])
    weight = torch.bincount(often, minlength=N).float()
    weighted = Batch(batch.x, batch.y, batch.indices, weight)
    repeated = Batch(batch.x[often], batch.y[often], often)
    expected = compute(repeated, teacher, label_weight=0.4)
    torch.testing.assert_close(compute(weighted, teacher, label_weight=0.4), expected)


def test_labels_alone_and_a_certain_teacher_are_cross_entropy():
    batch, teacher = make_rows()
    expected = functional.cross_entropy(batch.x, batch.y)
    torch.testing.assert_close(compute(batch, teacher, label_weight=1.0), expected)
    certain = 100.0 * functional.one_hot(batch.y, K)
    loss = compute(batch, certain, temperature=1.0, label_weight=0.0)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


def test_the_gradient_at_a_high_temperature_is_that_of_matched_logits():
    """Section 2.1 of the paper: the gradient tends to (z - t) / k for centred logits."""
    batch, teacher = make_rows()
    x = batch.x.clone().requires_grad_()
    objective = KD(teacher, temperature=300.0, label_weight=0.0)
    objective(Answers(), Batch(x, batch.y, batch.indices), make_step()).backward()
    centred = [v - v.mean(1, keepdim=True) for v in (x.detach(), teacher)]
    torch.testing.assert_close(x.grad * N, (centred[0] - centred[1]) / K, rtol=0.05, atol=0.01)


def test_a_student_that_answers_like_its_teacher_has_no_loss():
    batch, teacher = make_rows()
    same = Batch(teacher, batch.y, batch.indices)
    assert float(compute(same, teacher, label_weight=0.0)) == pytest.approx(0, abs=1e-6)


def test_unlabelled_rows_teach_by_the_teacher_alone():
    batch, teacher = make_rows(labelled=0)
    loss = compute(batch, teacher, label_weight=0.5)
    torch.testing.assert_close(loss, 0.5 * compute(batch, teacher, label_weight=0.0))


def test_a_row_finds_its_own_teacher():
    batch, teacher = make_rows()
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    shuffled = Batch(batch.x[order], batch.y[order], order)
    torch.testing.assert_close(compute(shuffled, teacher), compute(batch, teacher))
    with pytest.raises(ValueError, match="indices"):
        compute(Batch(batch.x, batch.y), teacher)


def test_a_class_that_the_teacher_never_saw_leaves_the_loss_finite():
    batch, teacher = make_rows()
    teacher[:, 2] = -torch.inf
    objective = KD(teacher)
    assert float(objective.teacher_logits.min()) == MIN_LOG_PROBABILITY
    assert torch.isfinite(objective(Answers(), batch, make_step()))


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"label_weight": 1.5}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        KD(None, **settings)
