"""Every sampled derivative is that of a convex calibrated loss, bounded below."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer

from helpers.small_training import make_step
from ilk.core.data import Data
from ilk.core.metrics import log_loss, softmax
from ilk.methods.ensloss import EnsLoss
from ilk.training.heads import Head, make_batch
from ilk.training.objectives.convex_ensemble import compute_margins, sample_derivatives

DRAWS = [(seed, power) for seed in range(20) for power in (-1.0, -0.4, 0.0, 0.3, 1.0)]


def draw_losses(seed, power, ordered=True, m=200, spread=3.0):
    generator = torch.Generator().manual_seed(seed)
    z = spread * torch.randn(m, generator=generator, dtype=torch.float64)
    return z.numpy(), sample_derivatives(z, generator, power, ordered).numpy()


@pytest.mark.parametrize(("seed", "power"), DRAWS)
def test_the_derivative_never_falls_as_the_margin_grows_and_is_below_0(seed, power):
    z, g = draw_losses(seed, power)
    order = np.argsort(z)
    assert (np.diff(g[order]) >= 0).all()  # convex
    assert (g < 0).all()  # with convexity, calibrated: the derivative at 0 lies between two of them
    at_zero = np.interp(0.0, z[order], g[order])
    assert at_zero < 0
    assert g.min() == -1  # the bound is reached, at the smallest margins


@pytest.mark.parametrize(("seed", "power"), DRAWS[:12])
def test_the_loss_of_a_large_margin_is_bounded(seed, power):
    """Beyond 1, `-g z^2` never grows, so the loss falls by less than `-g(1) z` for ever after."""
    z, g = draw_losses(seed, power, spread=30.0)
    beyond = np.sort(z[z > 1])
    pull = -g[z > 1][np.argsort(z[z > 1])] * beyond**2
    assert (np.diff(pull) <= 1e-9 * pull[:-1]).all()
    fallen = np.sum(-g[z > 1][np.argsort(z[z > 1])][1:] * np.diff(beyond))
    assert fallen <= pull[0] / beyond[0] + 1e-9


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_the_control_has_weights_of_the_same_law_in_no_order(power):
    z, g = draw_losses(0, power, ordered=False)
    assert (g < 0).all()
    assert (np.diff(g[np.argsort(z)]) < 0).mean() > 0.3
    small = torch.full((50,), 0.5, dtype=torch.float64)
    one, other = (
        sample_derivatives(small, torch.Generator().manual_seed(3), power, ordered)
        for ordered in (True, False)
    )
    np.testing.assert_allclose(one.sort().values, other.sort().values)


@pytest.mark.parametrize("power", [-1.0, -0.5, 0.0, 0.5, 1.0])
def test_derivatives_follow_the_law_of_the_bounded_draw(power):
    """P(|g| <= u) = Phi((u^power - 1) / power) for 0 < u < 1, by the inverse of the transform."""
    g = sample_derivatives(
        torch.zeros(200_000, dtype=torch.float64), torch.Generator().manual_seed(1), power
    ).numpy()
    for u in (0.2, 0.5, 0.9):
        want = norm.cdf((u**power - 1) / power if power else np.log(u))
        np.testing.assert_allclose(np.mean(-g <= u), want, atol=0.005)
    np.testing.assert_allclose(np.mean(g == -1), 0.5, atol=0.005)  # e > 0, whatever the power
    assert not np.array_equal(draw_losses(0, power)[1], draw_losses(1, power)[1])


def test_the_power_is_drawn_anew_at_its_interval_and_belongs_to_the_state():
    objective = EnsLoss().make_objective(1000)  # 7 updates of 128 rows in an epoch
    powers = []
    for index in range(211):
        step = make_step(index, generator=torch.Generator().manual_seed(index))
        objective.before_step(torch.nn.Identity(), step)
        powers.append(objective.current_power.item())
    changes = np.flatnonzero(np.diff(powers)) + 1
    assert changes.tolist() == [70, 140, 210]
    assert powers[0] == 0
    assert all(-1 <= p <= 1 for p in powers)
    resumed = EnsLoss().make_objective(1000)
    resumed.load_state_dict(objective.state_dict())
    assert resumed.current_power == objective.current_power
    fixed = EnsLoss(power=0.3).make_objective(30)
    fixed.before_step(torch.nn.Identity(), step)
    np.testing.assert_allclose(fixed.current_power, 0.3)


def test_margins_are_how_far_the_true_class_is_ahead_of_each_other():
    logits = torch.tensor([[1.0, 4.0, 2.0], [0.0, -1.0, 3.0]])
    got = compute_margins(logits, torch.tensor([1, 0]))
    assert sorted(got[:2].tolist()) == [2.0, 3.0]
    assert sorted(got[2:].tolist()) == [-3.0, 1.0]


def test_the_gradient_of_the_objective_is_the_sampled_derivative():
    """For two classes: d loss / d margin of a row is its derivative over the rows."""
    rng = np.random.default_rng(0)
    data = Data(rng.standard_normal((30, 4)).astype(np.float32), np.arange(30) % 2, ("a", "b"))
    net = Head.from_data(data, 8)
    part = make_batch(net, data)
    net.output_layer.bias.grad = None
    step = make_step(generator=torch.Generator().manual_seed(5))
    EnsLoss().make_objective(30)(net, part, step).backward()
    z = compute_margins(net(part.x), part.y).detach()
    g = sample_derivatives(z, torch.Generator().manual_seed(5)).numpy()
    sign = np.where(data.y == 0, 1, -1)  # of the first class's bias in the margin
    np.testing.assert_allclose(
        net.output_layer.bias.grad[0].item(), np.sum(g * sign) / 30, rtol=1e-4
    )
    np.testing.assert_allclose(net.output_layer.bias.grad.sum().item(), 0, atol=1e-6)


def test_it_learns_a_real_table_with_useful_probabilities():
    x, y = load_breast_cancer(return_X_y=True)
    data = Data(x.astype(np.float32), y, ("malignant", "benign"))
    order = np.random.default_rng(0).permutation(len(data))
    train, test = data.take(order[:250]), data.take(order[250:])
    logits = EnsLoss(hidden=64).fit(train).logits(test.x)
    assert np.mean(logits.argmax(1) == test.y) > 0.93
    best = min(log_loss(test.y, softmax(f * logits, axis=1)) for f in np.geomspace(0.1, 10, 41))
    assert log_loss(test.y, softmax(logits, axis=1)) < best + 0.03


def test_a_head_that_memorized_noise_is_not_overconfident():
    rng = np.random.default_rng(2)
    y = np.arange(900) % 2
    x = rng.standard_normal((900, 10)).astype(np.float32)
    x[:, 0] += 1.2 * y  # the best rule errs on a quarter
    data = Data(x, y, ("a", "b"))
    train, test = data.take(np.arange(100)), data.take(np.arange(100, 900))
    logits = EnsLoss().fit(train).logits(test.x)
    assert log_loss(test.y, softmax(logits, axis=1)) < np.log(2)
    assert log_loss(test.y, softmax(EnsLoss()._train(train).logits(test.x), axis=1)) > 0.8


@pytest.mark.parametrize(
    ("params", "message"), [({"power": -1.1}, "power is -1.1"), ({"hidden": 0}, "hidden is 0")]
)
def test_invalid_params_raise(params, message):
    with pytest.raises(ValueError, match=message):
        EnsLoss(**params)
