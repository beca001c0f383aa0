"""Weighted, distilled triplets of sketches and photos by hand, and their limiting cases."""

import copy

import pytest
import torch
from torch import nn

from helpers.small_training import make_step
from ilk.architectures.cross_domain_towers import CrossDomainTowers
from ilk.training.batch import Batch
from ilk.training.losses import row_divergences
from ilk.training.objectives.cross_domain_triplet import CrossDomainTriplet, triplet_losses
from ilk.training.trainer import Recipe, train

N = 6


def make_towers(seed=0):
    torch.manual_seed(seed)
    return CrossDomainTowers(nn.Linear(3, 5), nn.Linear(2, 5), 3)


def make_batch(weight=None):
    generator = torch.Generator().manual_seed(1)
    return Batch(torch.randn(N, 5, generator=generator), torch.arange(N), None, weight)


@torch.no_grad()
def compute_by_hand(towers, batch, margin=0.2, teacher=None, c=1.0, t=0.1):
    q, g = towers(batch.x)
    losses = []
    for i in range(N):
        own = (q[i] - g[i]).square().sum()
        gaps = [own - (q[i] - g[j]).square().sum() + margin for j in range(N) if j != i]
        active = [x for x in gaps if x > 0]
        loss = sum(active) / max(len(active), 1)
        if teacher is not None:
            tq, tg = teacher(batch.x)
            p, s = ((a[i] @ b.T / t).softmax(0) for a, b in ((tq, tg), (q, g)))
            loss = loss + c * sum(p * (p / s).log())
        losses.append(float(loss))
    weight = torch.ones(N) if batch.weight is None else batch.weight
    return float((weight * torch.tensor(losses)).sum() / weight.sum())


@pytest.mark.parametrize("margin", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 0, 2, 0.5, 1, 3])])
def test_the_loss_by_hand(margin, weight):
    towers, batch, teacher = make_towers(), make_batch(weight), make_towers(7)
    plain = CrossDomainTriplet(margin)(towers, batch, make_step())
    assert float(plain.detach()) == pytest.approx(compute_by_hand(towers, batch, margin), rel=1e-4)
    distilled = CrossDomainTriplet(margin, teacher, 0.7)(towers, batch, make_step())
    by_hand = compute_by_hand(towers, batch, margin, teacher, 0.7)
    assert float(distilled.detach()) == pytest.approx(by_hand, rel=1e-4)


def test_a_teacher_that_is_the_student_adds_nothing():
    towers, batch = make_towers(), make_batch()
    plain = CrossDomainTriplet()(towers, batch, make_step())
    same = CrossDomainTriplet(teacher=copy.deepcopy(towers))(towers, batch, make_step())
    torch.testing.assert_close(same, plain)
    cosines = torch.randn(4, 5)
    shifted = row_divergences((cosines + torch.randn(4, 1)) / 0.3, cosines / 0.3)
    torch.testing.assert_close(shifted, torch.zeros(4), atol=1e-5, rtol=0)


def test_pairs_that_are_far_enough_apart_have_no_loss_and_equal_labels_no_triplet():
    cosines = 2 * torch.eye(3) - 1
    assert triplet_losses(cosines, torch.arange(3), 0.2).tolist() == [0, 0, 0]
    wrong = -cosines
    assert triplet_losses(wrong, torch.arange(3), 0.2).min() > 4
    assert triplet_losses(wrong, torch.zeros(3), 0.2).tolist() == [0, 0, 0]


def test_a_row_without_weight_has_no_gradient():
    x = torch.randn(N, 5, requires_grad=True)
    weight = torch.ones(N)
    weight[2] = 0
    loss = CrossDomainTriplet(4.0)(
        make_towers(), Batch(x, torch.arange(N), None, weight), make_step()
    )
    loss.backward()
    assert (x.grad[2, 3:] == 0).all()  # its sketch asks nothing; its photo is a negative of others
    assert (x.grad[[0, 1, 3], 3:] != 0).any()


def test_training_leaves_the_teacher_as_it_is():
    teacher, towers = make_towers(7), make_towers()
    before = copy.deepcopy(teacher.state_dict())
    trained = train(
        towers, make_batch(), CrossDomainTriplet(teacher=teacher), Recipe(5, 4, 1e-2, 0)
    )
    after = teacher.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(trained.query_tower.weight, make_towers().query_tower.weight)
