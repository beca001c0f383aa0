"""Noise levels: where they lie, how much each counts, and which comes first."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import check_grad
from torch import Tensor

from helpers.gaussian_world import World
from ilk.core.errors import ArtifactError, InputError, NoLabels, UnknownName
from ilk.diffusion.denoiser.external import Epsilon, ExternalDenoiser, NoiseSchedule
from ilk.diffusion.errors.class_errors import (
    Measure,
    compute_class_errors,
    draw_level_noise,
    likelihood_weights,
)
from ilk.diffusion.errors.level_order import order_evenly, order_greedily
from ilk.diffusion.errors.levels import Levels
from ilk.diffusion.errors.weighting import (
    WEIGHTINGS,
    WeightEstimator,
    _WeightProblem,
    weigh_by_decay,
    weigh_by_likelihood,
)

SIGMAS = tuple(np.geomspace(0.1, 6, 16))


def simulated(n: int, seed: int, useless: int = 8) -> tuple[Tensor, Tensor]:
    """Errors `[n, 5, 16]` at SIGMAS: the right class is lower, but not at the first `useless`.

    There it is all noise, and twice as much of it under the likelihood's weights.
    """
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 5, n)
    made = rng.normal(size=(n, 5, 16))
    made[:, :, :useless] *= 2
    made[np.arange(n), y, useless:] -= 0.7
    return torch.tensor((made + 9) * np.array(SIGMAS) ** 2), torch.tensor(y)


def right(levels: Levels, made: Tensor, y: Tensor) -> float:
    weights = torch.tensor(levels.weights, dtype=torch.float64)
    answers = (made[:, :, list(levels.noise_indices)] * weights).sum(2).argmin(1)
    return float((answers == y).double().mean())


def plain(weights: str) -> Levels:
    w = WEIGHTINGS[weights](np.array(SIGMAS), "l2")
    return Levels(SIGMAS, tuple(map(float, w)))


def test_every_beginning_of_even_levels_covers_the_range():
    for count in (1, 2, 7, 32, 33, 100):
        assert sorted(order_evenly(count)) == list(range(count))
    order = order_evenly(64)
    assert order[0] == 32
    for m in range(1, 65):
        for parts in (2, 4, 8):
            held = np.bincount(np.array(order[:m]) * parts // 64, minlength=parts)
            assert held.max() - held.min() <= 2


def test_even_levels_follow_the_spread_inside_what_the_network_knows():
    world = World()
    levels = Levels.log_spaced(world, 10)
    logs = np.log(sorted(levels.sigmas))
    assert np.ptp(np.diff(logs)) < 1e-5
    assert logs[0] - (logs[1] - logs[0]) / 2 == pytest.approx(math.log(0.3 / 6), abs=1e-4)
    assert logs[-1] + (logs[1] - logs[0]) / 2 == pytest.approx(math.log(3.0), abs=1e-4)
    world.sigmas = (0.2, 1.0)
    inside = Levels.log_spaced(world, 10).sigmas
    assert 0.2 < min(inside) < 0.25
    assert 0.9 < max(inside) < 1
    torch.testing.assert_close(
        torch.tensor(levels.weights), likelihood_weights(torch.tensor(levels.sigmas))
    )
    assert torch.equal(levels.draw_noise(world, 3), draw_level_noise(world, 10, 3))
    with pytest.raises(InputError, match="there are none"):
        Levels.log_spaced(world, 4, low=2.0, high=3.0)


def test_a_level_keeps_its_noise_when_the_order_changes():
    world = World()
    levels = Levels.log_spaced(world, 12)
    taken = levels.take([5, 0, 11])
    assert torch.equal(taken.draw_noise(world, 2), levels.draw_noise(world, 2)[[5, 0, 11]])
    assert taken.find_indices(levels) == [5, 0, 11]
    assert taken.sigmas == tuple(levels.sigmas[i] for i in (5, 0, 11))
    assert math.fsum(taken.weights) / 3 == pytest.approx(1)
    ratio = np.array(taken.weights) / np.array(levels.weights)[[5, 0, 11]]
    assert np.ptp(ratio) < 1e-9
    assert list(levels.sort_by_sigma().sigmas) == sorted(levels.sigmas)
    with pytest.raises(InputError, match="not among the others"):
        levels.find_indices(taken)


@pytest.mark.parametrize(("count", "first", "stride"), [(500, 1, 2), (250, 2, 4), (1000, 0, 1)])
def test_steps_are_those_of_the_paper(count: int, first: int, stride: int):
    bar = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000).double() ** 2, 0)
    schedule = NoiseSchedule.from_alphas_bar(bar)
    foreign = ExternalDenoiser(
        lambda x, t, c: x, Epsilon(schedule), (1, 2, 2), ("a",), torch.zeros(2)
    )
    made = Levels.from_schedule(foreign, count)
    asked = schedule.find_step(torch.tensor(made.sigmas))
    assert asked.tolist() == pytest.approx(list(range(first, 1000, stride)), abs=1e-4)
    with pytest.raises(InputError, match="1001 levels of a network of 1000 steps"):
        Levels.from_schedule(foreign, 1001)


@pytest.mark.parametrize("distance", ["l2", "l1"])
def test_the_papers_weights_make_plain_errors_of_epsilon(distance: str):
    world = World()
    levels = Levels.from_schedule(world, 6, distance=distance)
    assert list(levels.sigmas) == sorted(levels.sigmas)
    x, _ = world.images(2)
    noise, sigmas = levels.draw_noise(world), torch.tensor(levels.sigmas)
    made = compute_class_errors(world, x, sigmas, noise, Measure(distance)) * torch.tensor(
        levels.weights
    )
    shares = []
    for j in range(6):
        noisy = x + sigmas[j] * noise[j]
        clean = world.denoise(noisy, sigmas[j].repeat(2), torch.tensor([1, 1]))
        miss = (noisy - clean) / sigmas[j] - noise[j]
        plain = {"l2": miss.square(), "l1": miss.abs()}[distance].flatten(1).mean(1)
        shares.append(made[:, 1, j] / plain)
    assert torch.stack(shares).flatten().tolist() == pytest.approx([shares[0][0].item()] * 12, 1e-3)


def test_rules_are_their_formulas():
    s = np.array([0.5, 1.0, 2.0])
    made = weigh_by_decay(s, "l2") / weigh_by_likelihood(s, "l2")
    t = np.arctan(s) * 2 / np.pi
    assert (made / made[0]).tolist() == pytest.approx(np.exp(-7 * (t - t[0])).tolist())
    assert Levels.log_spaced(World(), 5, weights="uniform").weights == (1.0,) * 5
    with pytest.raises(UnknownName, match="the nearest is uniform"):
        Levels.log_spaced(World(), 5, weights="unifrom")


@pytest.mark.parametrize("form", ["piecewise", "polynomial"])
def test_learned_weights_beat_uniform_where_half_of_the_levels_are_noise(form: str):
    made, y = simulated(4000, 1)
    few, told = simulated({"piecewise": 200, "polynomial": 60}[form], 2)
    learned = Levels.learn(few, told, SIGMAS, WeightEstimator(form))
    best = right(plain("likelihood").take(range(8, 16)), made, y)
    assert right(learned, made, y) > right(plain("uniform"), made, y) + 0.1
    assert right(learned, made, y) > right(plain("likelihood"), made, y) + 0.1
    assert right(learned, made, y) > best - 0.05
    assert min(learned.weights) > 0


def test_few_images_are_better_told_by_a_polynomial():
    made, y = simulated(2000, 100)
    found = [
        [
            right(Levels.learn(*simulated(20, seed), SIGMAS, WeightEstimator(form)), made, y)
            for seed in (1, 2)
        ]
        for form in ("polynomial", "piecewise")
    ]
    assert np.mean(found[0]) > np.mean(found[1]) + 0.1


def test_twenty_images_do_not_overfit():
    lost = []
    for seed in range(8):
        made, y = simulated(2000, 100 + seed, useless=0)  # the likelihood's weights are the best
        few, told = simulated(20, seed, useless=0)
        learned = Levels.learn(few, told, SIGMAS)
        lost.append(right(plain("likelihood"), made, y) - right(learned, made, y))
    assert np.mean(lost) < 0.015


def test_weights_depend_on_neither_units_nor_an_images_own_level():
    made, y = simulated(50, 3)
    once = Levels.learn(made, y, SIGMAS)
    offset = torch.rand(50, 1, 16, dtype=torch.float64)
    again = Levels.learn(1e-3 * (made + offset), y, SIGMAS)
    assert once.noise_indices == again.noise_indices
    assert once.weights == pytest.approx(again.weights, rel=1e-3)
    hidden = torch.cat([made, made[:9]]), torch.cat([y, torch.full((9,), -1)])
    assert Levels.learn(*hidden, SIGMAS) == once
    first, expected = Levels.learn(made, y, SIGMAS, max_levels=4), once.take(range(4))
    assert (first.sigmas, first.noise_indices) == (expected.sigmas, expected.noise_indices)
    assert first.weights == pytest.approx(expected.weights, rel=1e-14)
    from_levels = plain("uniform").take(range(15, -1, -1))
    assert Levels.learn(made.flip(2), y, from_levels).weights == pytest.approx(once.weights)


def test_a_polynomial_is_one_of_ln_sigma():
    made, y = simulated(80, 4)
    found = Levels.learn(made, y, SIGMAS, WeightEstimator("polynomial", 2))
    u = np.log(np.array(found.weights) * np.array(found.sigmas) ** 2)
    t = np.log(found.sigmas)
    np.testing.assert_allclose(np.polyval(np.polyfit(t, u, 2), t), u, atol=1e-8)
    assert np.abs(np.polyval(np.polyfit(t, u, 1), t) - u).max() > 1e-3


def test_the_slope_is_that_of_the_loss():
    made, y = simulated(12, 5)
    told = made.numpy() / 50
    problem = _WeightProblem(told - told.mean(1, keepdims=True), np.eye(16))
    rows, label = np.arange(2, 12), y.numpy()
    at = np.random.default_rng(0).normal(size=17) / 3
    gap = check_grad(
        lambda v: problem.compute_loss_and_gradient(v, rows, label)[0],
        lambda v: problem.compute_loss_and_gradient(v, rows, label)[1],
        at,
    )
    assert gap < 1e-5
    logits = -np.exp(at[0]) * (problem.contrasts @ np.exp(at[1:]))
    brute = torch.nn.functional.cross_entropy(torch.tensor(logits[2:]), y[2:]).item()
    assert problem.compute_loss_and_gradient(at, rows, label)[0] == pytest.approx(brute)


def test_what_tells_most_comes_first_and_what_repeats_comes_late():
    rng = np.random.default_rng(6)
    y = rng.integers(0, 3, 400)
    made = rng.normal(size=(400, 3, 4))
    made[np.arange(400), y] -= np.array([0.1, 1.2, 1.0, 0.0])
    made[:, :, 3] = made[:, :, 1] + 0.01 * rng.normal(size=(400, 3))  # level 1 once more
    assert order_greedily(made, y, np.ones(4))[:2] == [1, 2] or order_greedily(made, y, np.ones(4))[
        :2
    ] == [3, 2]
    made[:, :, 3] = rng.normal(size=(400, 3))
    assert order_greedily(made, y, np.ones(4))[:2] == [1, 2]


def test_levels_outlive_a_file():
    made, y = simulated(30, 7)
    levels = Levels.learn(made, y, SIGMAS, max_levels=5)
    assert Levels.from_json(levels.to_json()) == levels
    assert Levels.from_json({"sigmas": [1.0], "weights": [1.0]}).noise_indices == (0,)
    for wrong in ({}, {"sigmas": [1.0], "weights": [2.0]}, {"sigmas": 3, "weights": []}, []):
        with pytest.raises(ArtifactError, match="cannot be read"):
            Levels.from_json(wrong)


def test_bad_input_is_refused():
    made, y = simulated(10, 8)
    with pytest.raises(InputError, match="do not go with 9 labels"):
        Levels.learn(made, y[:9], SIGMAS)
    with pytest.raises(InputError, match="label 5 is of none of the 5 classes"):
        Levels.learn(made, y * 0 + 5, SIGMAS)
    with pytest.raises(InputError, match="not finite"):
        Levels.learn(made / 0, y, SIGMAS)
    with pytest.raises(NoLabels):
        Levels.learn(made, y * 0 - 1, SIGMAS)
    for sigmas, weights in (((), ()), ((1.0,), (1.0, 1.0)), ((0.0,), (1.0,)), ((1.0,), (2.0,))):
        with pytest.raises(InputError):
            Levels(sigmas, weights)
    for wrong in ({"degree": 0}, {"folds": 1}, {"form": "cubic"}, {"base": "none"}):
        with pytest.raises(InputError):
            WeightEstimator(**wrong)
