"""Two heads: the losses by hand, and the alignment of gradients against its definition."""

import math

import pytest
import torch
from torch.nn import functional

from ilk.core.errors import InputError
from ilk.training.batch import Batch
from ilk.training.objectives.dual_head import DualHead, add_aligned, align, binary_divergences
from ilk.training.recipe import Recipe
from ilk.training.student_features import RowStudent
from ilk.training.trainer import train


def make_batch(n=12, k=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 5, generator=generator)
    teacher = 3 * torch.randn(n, k, generator=generator)
    return Batch(x, torch.arange(n) % k, torch.arange(n)), teacher


def make_parts(teacher, **settings):
    torch.manual_seed(1)
    network, objective = RowStudent(5, 8, teacher.shape[1]), DualHead(teacher, **settings)
    objective.setup(network, make_batch()[0])
    return network, objective


def test_binary_divergences_by_hand():
    z, t = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, 1.0]])
    total = 0.0
    for difference in (1.0 / 2, -3.0 / 2):
        p = 1 / (1 + math.exp(-difference))
        total += 0.5 * math.log(0.5 / p) + 0.5 * math.log(0.5 / (1 - p))
    assert float(binary_divergences(z, t)) == pytest.approx(4 * total, rel=1e-6)
    assert float(binary_divergences(t, t)) == pytest.approx(0, abs=1e-6)


def test_near_its_minimum_the_divergence_is_an_eighth_of_the_squared_difference():
    t = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64)
    step = torch.tensor([[0.01, -0.02, 0.015]], dtype=torch.float64)
    expected = float((step**2).sum()) / 8
    assert float(binary_divergences(t + step, t, 5.0)) == pytest.approx(expected, rel=1e-3)


def test_both_terms_by_hand_with_unlabelled_rows():
    batch, teacher = make_batch()
    y = torch.where(torch.arange(12) < 6, batch.y, -1)
    network, objective = make_parts(teacher, alpha=0.7, label_weight=0.4)
    labels, logits = objective.compute_losses(network, Batch(batch.x, y, batch.indices))
    features = network.forward_features(batch.x)
    known = torch.where(y < 0, teacher.argmax(1), y)
    expected = functional.cross_entropy(network.fc(features), known)
    torch.testing.assert_close(labels, 0.4 * expected)
    log_p = teacher.log_softmax(1)
    target = log_p - log_p.mean(1, keepdim=True)
    own = binary_divergences(objective.auxiliary(features), target).mean()
    torch.testing.assert_close(logits, 0.7 * own)


def test_a_shift_of_the_teachers_logits_changes_nothing():
    batch, teacher = make_batch()
    losses = [
        objective.compute_losses(network, batch)[1]
        for network, objective in (make_parts(teacher), make_parts(teacher + 7))
    ]
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_second_gradient_gives_way_only_where_it_conflicts(sign):
    kept, changed = (
        (torch.tensor([1.0, 2.0]), torch.tensor([[1.0]])),
        (torch.tensor([0.5, -3.0]), torch.tensor([[1.0]])),
    )
    g, h = (torch.cat([a, b.flatten()]) for a, b in (kept, changed))
    h = sign * h
    merged = align(kept, tuple(sign * part for part in changed))
    found = torch.cat([part.flatten() for part in merged]) - g
    assert float(g @ h) * sign < 0  # conflicts at 1 and agrees at -1
    if sign < 0:
        torch.testing.assert_close(found, h)
        return
    torch.testing.assert_close(float(found @ g), 0.0, atol=1e-6, rtol=0)
    rest = h - found  # along g alone
    assert abs(float(rest @ g)) == pytest.approx(float(rest.norm() * g.norm()), rel=1e-6)


def test_the_loss_has_the_value_of_the_sum_and_the_aligned_gradient():
    w = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
    unused = torch.nn.Parameter(torch.ones(1))
    first, second = (w * torch.tensor([2.0, 0.0])).sum(), (w * torch.tensor([-1.0, 3.0])).sum()
    loss = add_aligned(first, second, [w, unused])
    assert float(loss.detach()) == pytest.approx(float((first + second).detach()))
    loss.backward()
    torch.testing.assert_close(w.grad, torch.tensor([2.0, 3.0]))  # (-1, 3) loses its (-1, 0)
    torch.testing.assert_close(unused.grad, torch.zeros(1))


def test_in_two_heads_the_teacher_does_not_reach_the_students_head():
    batch, teacher = make_batch()
    for shared, reaches in ((False, False), (True, True)):
        network, objective = make_parts(teacher, shared=shared)
        loss = objective.compute_losses(network, batch)[1]
        gradient = torch.autograd.grad(
            loss, network.fc.weight, allow_unused=True, retain_graph=True
        )[0]
        assert (gradient is not None) == reaches
        loss.backward()
        assert bool((network.inner.weight.grad != 0).any())


def test_without_conflict_alignment_is_the_plain_sum_in_a_run():
    batch, teacher = make_batch()
    rows = Batch(batch.x, batch.y)
    results = []
    for aligned in (True, False):
        network, objective = make_parts(teacher, alpha=0.0, aligned=aligned)
        results.append(train(network, rows, objective, Recipe(5, 6, 1e-2, 0)).fc.weight)
    torch.testing.assert_close(*results)


def test_settings_out_of_range_and_networks_without_a_head_are_refused():
    with pytest.raises(InputError, match=r"temperature 0\.0 above 0"):
        DualHead(temperature=0.0)
    batch, teacher = make_batch()
    with pytest.raises(InputError, match="Linear has no linear head `fc`"):
        DualHead(teacher).setup(torch.nn.Linear(5, 4), batch)
    linear = make_parts(teacher, hidden=0)[1]
    assert [tuple(p.shape) for p in linear.auxiliary.parameters()] == [(4, 8), (4,)]
