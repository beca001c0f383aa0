"""Adversarial rows against the closed form of a linear network."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from helpers.small_training import make_step
from ilk.core.errors import InputError
from ilk.training.batch import Batch
from ilk.training.objectives.adversarial import Adversarial, attack, project
from ilk.training.trainer import Recipe, train


def make_linear(d=6, k=2):
    torch.manual_seed(0)
    return nn.Linear(d, k)


def make_rows(n=12, d=6):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, d, generator=generator), torch.arange(n) % 2


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_worst_row_of_a_linear_network_is_known(norm):
    network, (x, y) = make_linear(), make_rows()
    found = attack(network, x, y, 0.5, norm, n_steps=10)
    # Of two classes, the loss rises along w_other - w_y alone.
    direction = network.weight[1 - y] - network.weight[y]
    length = direction.norm(dim=1, keepdim=True)
    worst = x + 0.5 * (direction / length if norm == "l2" else direction.sign())
    torch.testing.assert_close(found, worst.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_rows_stay_within_the_distance_from_any_start(norm):
    network, (x, y) = nn.Sequential(make_linear(6, 8), nn.ReLU(), make_linear(8, 2)), make_rows()
    moved = attack(network, x, y, 0.3, norm, generator=torch.Generator().manual_seed(5)) - x
    size = moved.norm(dim=1) if norm == "l2" else moved.abs().amax(1)
    assert (size <= 0.3 + 1e-5).all()
    before = functional.cross_entropy(network(x), y, reduction="none")
    after = functional.cross_entropy(network(x + moved), y, reduction="none")
    assert (after > before).all()
    assert all(p.grad is None for p in network.parameters())


def test_projection_keeps_what_is_near_and_shortens_what_is_far():
    change = torch.tensor([[0.3, 0.4], [3.0, 4.0]])
    torch.testing.assert_close(project(change, 1.0, "l2"), torch.tensor([[0.3, 0.4], [0.6, 0.8]]))
    torch.testing.assert_close(project(change, 1.0, "linf"), torch.tensor([[0.3, 0.4], [1.0, 1.0]]))


def test_without_distance_it_is_cross_entropy():
    network, (x, y) = make_linear(), make_rows()
    loss = Adversarial(eps=0.0)(network, Batch(x, y), make_step())
    assert torch.equal(loss, functional.cross_entropy(network(x), y))


def test_a_robust_network_keeps_its_answers_under_attack():
    generator = torch.Generator().manual_seed(2)
    y = torch.arange(400) % 2
    # One strong feature, and many weak ones that an attack of this size turns round.
    x = torch.cat([4.0 * (2 * y[:, None] - 1), 0.25 * (2 * y[:, None] - 1).repeat(1, 40)], 1)
    x = x + torch.randn(x.shape, generator=generator) * torch.cat(
        [torch.full((1,), 2.0), torch.full((40,), 0.3)]
    )
    scores = {}
    for eps in (0.0, 2.0):
        torch.manual_seed(0)
        network = nn.Linear(41, 2)
        trained = train(network, Batch(x, y), Adversarial(eps), Recipe(300, 100, 0.03, 10))
        moved = attack(trained, x, y, 2.0)
        scores[eps] = float((trained(moved).argmax(1) == y).float().mean())
    assert scores[2.0] > scores[0.0] + 0.1


def test_settings_out_of_range_are_refused():
    with pytest.raises(InputError, match="norm 'l1' one of l2 and linf"):
        Adversarial(norm="l1")
