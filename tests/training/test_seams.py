"""What is passed to the trainer: optimizers, schedules, objectives with state, wrapped networks."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from helpers.small_training import RECIPE, data, make_step, network, plain
from ilk.architectures.head import Head
from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.training.batch import Batch
from ilk.training.heads import cross_entropy, fit_head, make_batch
from ilk.training.objective import Objective, WeightedSum, augment_objective, unwrap
from ilk.training.objectives.cross_entropy import CrossEntropy
from ilk.training.objectives.domain_adversarial import DomainAdversarial
from ilk.training.optimizers import SGD, AdamW, ParameterGroup
from ilk.training.recipe import CheckpointConfig, DeviceConfig, Recipe
from ilk.training.schedules import Constant, CosineDecay, LinearDecay, StepDecay
from ilk.training.trainer import train


def weights(net):
    return nn.utils.parameters_to_vector(net.parameters()).detach()


def test_schedules_run_as_they_say():
    def rates(schedule):
        return np.array([schedule.compute_lr(2.0, step, 100) for step in range(100)])

    assert rates(Constant(0)).tolist() == [2.0] * 100
    for schedule in (LinearDecay(10), CosineDecay(10)):
        values = rates(schedule)
        assert values.argmax() == 10
        assert values.max() == pytest.approx(2.0)
        assert (np.diff(values[10:]) < 0).all()
        assert 0 <= values[-1] < 0.05
    assert rates(CosineDecay(0))[50] == pytest.approx(1.0)
    steps = rates(StepDecay((0.5, 0.75), 0.1))
    np.testing.assert_allclose(steps[[0, 49, 50, 74, 75]], [2, 2, 0.2, 0.2, 0.02])
    with pytest.raises(InputError, match="warmup is -1"):
        Constant(-1)
    with pytest.raises(InputError, match="milestones"):
        StepDecay((1.5,))


@pytest.mark.parametrize(
    ("config", "theirs"),
    [
        (SGD(0.9, nesterov=False), partial(torch.optim.SGD, momentum=0.9)),
        (AdamW((0.8, 0.95)), partial(torch.optim.AdamW, betas=(0.8, 0.95))),
    ],
)
def test_an_optimizer_is_a_value_and_updates_as_torch_does(config, theirs):
    recipe = Recipe(5, 20, 0.05, weight_decay=0.1, max_grad_norm=1e9, ema_width=0)
    recipe = replace(recipe, optimizer=config, schedule=Constant())
    rows, twin = data(), network()
    ours = train(network(), rows, plain, recipe)
    optimizer = theirs(twin.parameters(), lr=0.05, weight_decay=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        plain(twin, rows, None).backward()
        optimizer.step()
    torch.testing.assert_close(weights(ours), weights(twin), rtol=1e-4, atol=1e-6)


def test_a_checkpoint_records_optimizer_and_schedule(tmp_path):
    watch = CheckpointConfig(tmp_path / "s")
    train(network(), data(), plain, RECIPE, checkpointing=watch)
    with pytest.raises(InputError, match=r"optimizer was MuonAdamW\(\), now SGD"):
        train(network(), data(), plain, replace(RECIPE, optimizer=SGD()), checkpointing=watch)
    with pytest.raises(InputError, match=r"schedule was LinearDecay\(warmup=2\), now Constant"):
        train(network(), data(), plain, replace(RECIPE, schedule=Constant()), checkpointing=watch)


class Scaled(Objective):
    """Cross-entropy of logits times a learned factor, in a group of its own; counts its hooks."""

    def __init__(self, schedule=None):
        super().__init__()
        self.factor, self.schedule = nn.Parameter(torch.ones(())), schedule
        self.register_buffer("hooks", torch.zeros(2))
        self.progress = []

    def parameter_groups(self):
        return [ParameterGroup(self, lr=0.1, weight_decay=0.0, schedule=self.schedule)]

    def before_step(self, network, step):
        assert not torch.is_grad_enabled()
        self.hooks[0] += 1

    def after_step(self, network, step):
        self.hooks[1] += 1

    def forward(self, network, batch, step):
        assert self.hooks[0] == self.hooks[1] + 1
        self.progress.append(step.progress)
        return nn.functional.cross_entropy(self.factor * network(batch.x), batch.y)


def test_an_objective_has_parameters_a_schedule_and_hooks_of_its_own():
    objective, still = Scaled(), Scaled(StepDecay((0.001,), 1e-9))
    for one in (objective, still):
        train(network(), data(), one, replace(RECIPE, optimizer=SGD()))
    assert objective.hooks.tolist() == [12, 12]
    np.testing.assert_allclose(objective.progress, np.arange(1, 13) / 12)
    assert abs(objective.factor.item() - 1) > 1e-2
    first_update_alone = abs(still.factor.item() - 1)
    assert 0 < first_update_alone < abs(objective.factor.item() - 1)


def test_terms_are_summed_with_their_hooks_and_augmentations_keep_them():
    term = Scaled()
    whole = augment_objective(WeightedSum((2.0, term), (0.5, plain)), lambda batch, _: batch)
    train(network(), data(), whole, RECIPE)
    assert term.hooks.tolist() == [12, 12]
    net, rows = network(), data()
    term.hooks[0] += 1
    loss = whole(net, rows, make_step())
    wanted = 2 * term(net, rows, make_step()).item() + 0.5 * plain(net, rows, None).item()
    assert loss.item() == pytest.approx(wanted, rel=1e-6)


class Wrapper(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x)


def test_a_wrapped_network_is_found_inside():
    head = Head(6, 8, 2)
    compiled = torch.compile(head, backend="eager")
    for wrapped in (head, Wrapper(head), compiled, Wrapper(Wrapper(head))):
        assert unwrap(wrapped, Head) is head
        assert unwrap(wrapped) is head
    with pytest.raises(TypeError, match="needs a Head and got Linear"):
        unwrap(Wrapper(nn.Linear(2, 2)), Head)


def test_a_compiled_network_trains_as_a_plain_one(monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    rows = data()
    rows = Batch(rows.x, torch.where(torch.arange(20) < 12, rows.y, -1))
    for make in (lambda: DomainAdversarial(), lambda: CrossEntropy()):
        made = []
        for compiled in (False, True):
            torch.manual_seed(0)
            config = DeviceConfig(torch_compile=compiled)
            made.append(train(Head(6, 8, 2), rows, make(), RECIPE, config))
        assert type(made[1]) is Head
        torch.testing.assert_close(weights(made[1]), weights(made[0]), rtol=1e-4, atol=1e-6)


def test_a_row_of_weight_2_counts_as_two_rows_and_weights_of_1_change_no_bit():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((12, 5)).astype(np.float32)
    rows = Data(x, np.arange(12) % 3, ("a", "b", "c"))
    weight = np.where(np.arange(12) < 4, 2.0, 1.0)
    twice = rows.take(np.append(np.arange(12), np.arange(4)))
    head = Head.from_data(rows, 8)
    weighted = replace(rows, weight=weight)
    one, other = (
        cross_entropy(head, make_batch(head, part), torch.Generator()).item()
        for part in (weighted, twice)
    )
    assert one == pytest.approx(other, rel=1e-6)
    assert make_batch(head, replace(rows, weight=np.ones(12))).weight is None
    recipe = Recipe(20, 6, 1e-2, 0)
    plain_fit, ones, halved = (
        fit_head(Head.from_data(rows, 8), part, CrossEntropy(), recipe).to_model().weight
        for part in (rows, replace(rows, weight=np.ones(12)), weighted)
    )
    np.testing.assert_array_equal(plain_fit, ones)
    assert not np.array_equal(plain_fit, halved)
