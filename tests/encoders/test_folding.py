"""Folding batch norm and changing the memory layout leave the outputs as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from helpers.tiny_checkpoints import declare_missing_ops
from ilk.encoders import folding


def randomize(network):
    """Give every batch norm statistics and weights that are far from neutral."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.3, 3, generator=generator)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(generator=generator)
    return network.eval().requires_grad_(False)


class Branching(nn.Module):
    """A convolution whose output is normalized and also used as it is; one that runs twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.second_norm = nn.BatchNorm2d(8, eps=0.1)
        self.twice, self.twice_norm = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)

    def forward(self, x):
        x = self.second_norm(self.second(torch.relu(self.first_norm(self.first(x)))))
        x = self.twice_norm(self.twice(x))
        return self.twice_norm(self.twice(x)).mean((2, 3))


class Leaking(Branching):
    """The output of `first` is added to what comes of it."""

    def forward(self, x):
        y = self.first(x)
        return (self.first_norm(y) + y).mean((2, 3))


PROBE = torch.from_numpy(folding.make_probe((24, 20)).astype(np.float32) / 128 - 1)


def run(network, plan, x):
    if plan.channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    return network(x).numpy()


def test_a_folded_weight_is_scaled_and_its_bias_shifted():
    network = randomize(Branching())
    expected = network(PROBE).numpy()
    old, norm = network.second, network.second_norm
    plan = folding.find_plan(network, PROBE)
    assert set(plan.pairs) == {("first", "first_norm"), ("second", "second_norm")}
    scale = [norm.weight[i].item() / (norm.running_var[i].item() + 0.1) ** 0.5 for i in range(8)]
    weight = [
        [s * w for w in row.ravel()] for s, row in zip(scale, old.weight.numpy(), strict=True)
    ]
    bias = [
        (old.bias[i].item() - norm.running_mean[i].item()) * scale[i] + norm.bias[i].item()
        for i in range(8)
    ]
    changed = plan.apply(network)
    np.testing.assert_allclose(changed.second.weight.numpy().reshape(8, -1), weight, rtol=1e-5)
    np.testing.assert_allclose(changed.second.bias.numpy(), bias, rtol=1e-4, atol=1e-6)
    assert isinstance(changed.second_norm, nn.Identity)
    np.testing.assert_allclose(run(changed, plan, PROBE), expected, rtol=1e-4, atol=1e-4)


def test_a_convolution_whose_output_is_used_elsewhere_is_not_folded():
    network = randomize(Leaking())
    plan = folding.find_plan(network, PROBE)
    assert plan.pairs == ()
    expected = network(PROBE).numpy()
    np.testing.assert_allclose(run(plan.apply(network), plan, PROBE), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "has_norms", "channels_last"),
    [("test_efficientnet", True, True), ("test_resnet", True, True), ("test_vit", False, False)],
)
def test_networks_of_timm_lose_their_batch_norms(architecture, has_norms, channels_last):
    declare_missing_ops()
    timm = pytest.importorskip("timm")
    network = randomize(timm.create_model(architecture, num_classes=0))
    probe = torch.from_numpy(folding.make_probe((160, 160)).astype(np.float32) / 128 - 1)
    expected, plan = network(probe).numpy(), folding.find_plan(network, probe)
    assert (bool(plan.pairs), plan.channels_last) == (has_norms, channels_last)
    changed = plan.apply(network)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in changed.modules())
    got = run(changed, plan, probe)
    assert folding.compute_disagreement(got, expected) < folding.TOLERANCE


def test_a_plan_is_read_as_it_was_written_and_refuses_another_network():
    plan = folding.find_plan(randomize(Branching()), PROBE)
    assert folding.Plan.from_bytes(plan.to_bytes()) == plan
    other = Branching()
    other.second_norm = nn.Identity()
    before = other.first.weight.clone()
    with pytest.raises(AttributeError):
        plan.apply(other)
    assert torch.equal(other.first.weight, before)


def test_disagreement_is_that_of_the_worst_row():
    rows = np.array([[3.0, 4.0], [0.6, 0.8]])
    got = rows.copy()
    got[1, 0] += 0.1
    assert folding.compute_disagreement(got, rows) == pytest.approx(0.1)
    for wrong in (rows[:1], np.full((2, 2), np.nan)):
        assert folding.compute_disagreement(wrong, rows) == np.inf
