"""What every objective owes, asked of every file of `ilk.training.objectives`."""

import re
import sys

import pytest
import torch
from torch import nn

from helpers.small_training import make_step
from ilk.core.errors import InputError
from ilk.training.batch import Batch
from ilk.training.objective import Objective, unwrap
from ilk.training.objectives import list_objectives
from ilk.training.recipe import CheckpointConfig, Recipe
from ilk.training.trainer import train

D, K, N = 6, 3, 30
KINDS = list_objectives()
every = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


class Wrapper(nn.Module):
    """What a data-parallel wrapper looks like."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *args):
        return self.module(*args)


def make_rows(weight=None):
    generator = torch.Generator().manual_seed(3)
    y = torch.arange(N) % K
    x = torch.randn(N, D, generator=generator) + 2 * torch.eye(D)[y]
    return Batch(x, y, None, weight)


def make_run(kind, rows=None):
    """An objective of this kind with its network, a little away from where they started."""
    rows = rows or make_rows()
    torch.manual_seed(1)
    network, objective = kind.make_network(D, K), kind()
    objective.setup(network, rows)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(2)
        for p in network.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return network, objective, rows


def compute_loss(network, objective, rows, seed=0):
    step = make_step(generator=torch.Generator().manual_seed(seed))
    batch = rows.take(torch.arange(20), "cpu")
    objective.before_step(unwrap(network), step)
    return objective(network, batch, step)


def compare(one, other):
    for (name, a), (_, b) in zip(one.items(), other.items(), strict=True):
        assert torch.equal(a, b), name


@every
def test_a_file_cites_its_paper_and_a_class_says_what_its_loss_is(kind):
    text = sys.modules[kind.__module__].__doc__
    assert text.split("\n")[0].endswith(".")
    assert kind.__doc__
    assert kind.__name__ == "CrossEntropy" or re.search(r"arXiv \d{4}\.\d{4,5}|doi:10\.", text)


def test_every_file_holds_one_objective():
    modules = [kind.__module__ for kind in KINDS.values()]
    assert len(set(modules)) == len(modules) == len(list_files())


def list_files():
    from ilk.core.registry import find_modules

    return find_modules("ilk.training.objectives")


@every
def test_the_loss_is_a_finite_scalar(kind):
    loss = compute_loss(*make_run(kind))
    assert loss.shape == ()
    assert torch.isfinite(loss)


@every
def test_the_gradient_reaches_the_network(kind):
    network, objective, rows = make_run(kind)
    compute_loss(network, objective, rows).backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert any(bool((g != 0).any()) for g in gradients)
    assert all(bool(torch.isfinite(g).all()) for g in gradients)


@every
def test_the_loss_depends_on_the_generator_of_the_step_alone(kind):
    torch.manual_seed(11)
    run, other_run = make_run(kind), make_run(kind)
    torch.manual_seed(12)
    first = compute_loss(*run)
    torch.manual_seed(13)
    assert torch.equal(first, compute_loss(*other_run))
    compare(run[1].state_dict(), other_run[1].state_dict())


@every
def test_a_wrapped_network_has_the_same_loss(kind):
    plain, wrapped = make_run(kind), make_run(kind)
    loss = compute_loss(Wrapper(wrapped[0]), wrapped[1], wrapped[2])
    assert torch.equal(compute_loss(*plain), loss)


@every
def test_weights_of_one_change_nothing(kind):
    plain = compute_loss(*make_run(kind))
    weighted = compute_loss(*make_run(kind, make_rows(torch.ones(N))))
    torch.testing.assert_close(weighted, plain, rtol=1e-5, atol=1e-6)


@every
def test_uneven_weights_change_the_loss_or_are_refused(kind, tmp_path):
    rows = make_rows(torch.linspace(0.1, 3.0, N))
    network, objective, others = make_run(kind)
    others = Batch(others.x.flip(0), others.y.flip(0))
    if torch.equal(compute_loss(*make_run(kind)), compute_loss(network, objective, others)):
        return  # a penalty on the network's weights reads no rows
    if kind.supports_weights:
        weighted = compute_loss(*make_run(kind, rows))
        assert not torch.isclose(weighted, compute_loss(*make_run(kind)), rtol=1e-4)
        return
    with pytest.raises(InputError, match=f"{kind.__name__} cannot weight rows"):
        train(kind.make_network(D, K), rows, kind(), Recipe(2, 10, 1e-2, 0))


@every
def test_a_resumed_run_is_the_same_run(kind, tmp_path):
    recipe = Recipe(7, 10, 1e-2, 0, seed=4)

    def run(path, stop_at=None):
        torch.manual_seed(1)
        network, objective = kind.make_network(D, K), kind()

        def stop(step, _loss, _ema):
            if step == stop_at:
                raise KeyboardInterrupt

        checkpointing = CheckpointConfig(path, interval=1, on_checkpoint=stop)
        train(network, make_rows(), objective, recipe, checkpointing=checkpointing)
        return network.state_dict(), objective.state_dict()

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", stop_at=3)
    torch.manual_seed(99)
    resumed = run(tmp_path / "cut")
    for one, other in zip(whole, resumed, strict=True):
        compare(one, other)


class Planted(Objective):
    def forward(self, network, batch, step):
        return nn.functional.cross_entropy(network(batch.x), batch.y)


class Vector(Planted):
    def forward(self, network, batch, step):
        return nn.functional.cross_entropy(network(batch.x), batch.y, reduction="none")


class Detached(Planted):
    def forward(self, network, batch, step):
        return super().forward(network, batch, step).detach().requires_grad_()


class GlobalDraws(Planted):
    def forward(self, network, batch, step):
        return super().forward(network, batch, step) * (1 + torch.rand(()))


class HiddenCounter(Planted):
    calls = 0

    def forward(self, network, batch, step):
        self.calls += 1
        return super().forward(network, batch, step) * self.calls


class Unwrapped(Planted):
    def forward(self, network, batch, step):
        return network.hidden_layer.weight.sum() + super().forward(network, batch, step)


class UnweightedSum(Planted):
    def forward(self, network, batch, step):
        loss = super().forward(network, batch, step)
        return loss if batch.weight is None else loss * len(batch)


def test_planted_faults_are_found(tmp_path):
    with pytest.raises(AssertionError):
        test_the_loss_is_a_finite_scalar(Vector)
    with pytest.raises(AssertionError):
        test_the_gradient_reaches_the_network(Detached)
    with pytest.raises(AssertionError):
        test_the_loss_depends_on_the_generator_of_the_step_alone(GlobalDraws)
    with pytest.raises(AssertionError, match="weight"):
        test_a_resumed_run_is_the_same_run(HiddenCounter, tmp_path)
    with pytest.raises(AttributeError):
        test_a_wrapped_network_has_the_same_loss(Unwrapped)
    with pytest.raises(AssertionError):
        test_weights_of_one_change_nothing(UnweightedSum)
    test_a_resumed_run_is_the_same_run(Planted, tmp_path / "sound")
