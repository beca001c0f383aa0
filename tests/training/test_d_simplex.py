"""The simplex against its Gram matrix, the losses by hand, and vertices that stay with a class."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from helpers.small_training import make_step
from ilk.core.errors import InputError
from ilk.training.batch import Batch
from ilk.training.objectives.d_simplex import DSimplex, contrast_with_old, make_simplex
from ilk.training.recipe import Recipe
from ilk.training.trainer import train


def test_the_vertices_are_those_of_the_square_form():
    for width in (1, 2, 5, 64):
        k = width + 1
        square = (k / width) ** 0.5 * (torch.eye(k) - torch.full((k, k), 1 / k))
        vertices = make_simplex(width)
        assert vertices.shape == (k, width)
        torch.testing.assert_close(vertices @ vertices.T, square @ square.T, atol=1e-5, rtol=0)
        torch.testing.assert_close(vertices.sum(0), torch.zeros(width), atol=1e-5, rtol=0)


def test_the_contrastive_term_by_hand():
    f, old = functional.normalize(
        torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)), dim=2
    )
    y = torch.tensor([0, 1, 0, 2])
    losses = contrast_with_old(f, old, y)
    for i, others in ((0, (1, 3)), (1, (0, 2, 3)), (2, (1, 3)), (3, (0, 1, 2))):
        scores = torch.exp(10 * torch.stack([f[i] @ old[j] for j in (i, *others)]))
        torch.testing.assert_close(losses[i], -torch.log(scores[0] / scores.sum()))


def make_linear(x):
    """Return a linear network that gives rows `x [e, d]` for the unit vectors."""
    network = nn.Linear(len(x), x.shape[1], bias=False)
    with torch.no_grad():
        network.weight.copy_(x.T)
    return network


def compute_loss(objective, x, y):
    rows = Batch(torch.eye(len(x)), y)
    network = make_linear(x)
    objective.setup(network, rows)
    return objective(network, rows, make_step())


def test_the_loss_with_an_old_network_is_the_weighted_sum():
    x, old = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(1))
    y = torch.arange(6) % 3
    f = functional.normalize(x)
    expected = functional.cross_entropy(4 * f @ make_simplex(4).T, y)
    torch.testing.assert_close(compute_loss(DSimplex(), x, y), expected)
    near = contrast_with_old(f, functional.normalize(old), y).mean()
    objective = DSimplex(old_network=make_linear(old), class_weight=0.3)
    torch.testing.assert_close(compute_loss(objective, x, y), 0.3 * expected + 0.7 * near)
    assert not any(p.requires_grad for p in objective.parameters())


def test_a_class_keeps_its_vertex_when_classes_are_renumbered():
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))
    y = torch.arange(6) % 3
    first = compute_loss(DSimplex(), x, y)
    renumbered = DSimplex(vertices=(3, 2, 1, 0))
    torch.testing.assert_close(compute_loss(renumbered, x, 3 - y), first)


def test_too_many_classes_are_refused():
    x, y = torch.randn(6, 2), torch.arange(6)
    with pytest.raises(InputError, match="room for 3 classes"):
        compute_loss(DSimplex(), x, y % 4)
    for taken in ((0, 0, 1), (0, 1, 3), (0, 1)):
        with pytest.raises(InputError, match="room for 3 classes"):
            compute_loss(DSimplex(vertices=taken), x, y % 3)


def test_embeddings_of_a_trained_network_lie_at_the_vertices():
    y = torch.arange(40) % 4
    x = torch.eye(6)[y] + 0.05 * torch.randn(40, 6, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(0)
    network = train(nn.Linear(6, 8), Batch(x, y), DSimplex(), Recipe(200, 20, 1e-2, 5))
    with torch.no_grad():
        cosine = functional.normalize(network(x)) @ make_simplex(8).T
    assert torch.equal(cosine.argmax(1), y)
    assert float(cosine.max(1).values.min()) > 0.9


def test_other_rows_of_the_own_class_are_no_rivals():
    f = torch.eye(3)[[0, 0, 1]]
    same = contrast_with_old(f, f, torch.tensor([0, 0, 1]))
    assert float(same[0]) == pytest.approx(np.log1p(np.exp(-10)), abs=1e-6)
    other = contrast_with_old(f, f, torch.tensor([0, 2, 1]))
    assert float(other[0]) == pytest.approx(np.log(2 + np.exp(-10)), abs=1e-6)


def test_the_old_network_is_a_copy_that_stays_as_it_is():
    network = make_linear(torch.randn(3, 2, generator=torch.Generator().manual_seed(4)))
    objective = DSimplex(old_network=network).train()
    assert network.weight.requires_grad
    assert network.training
    assert not objective.old_network.training
    before = objective.old_network.weight.clone()
    with torch.no_grad():
        network.weight.zero_()
    assert torch.equal(objective.old_network.weight, before)
