"""Foreign conventions: each conversion agrees with the loss that the network was trained on."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.diffusion.denoiser.external import Epsilon, ExternalDenoiser, Flow, NoiseSchedule, Velocity
from ilk.diffusion.denoiser.protocol import expand_like

BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
ABAR = (1 - BETAS).cumprod(0)
SHAPE = (2, 4, 4)
STEPS = torch.tensor([0, 3, 250, 500, 998, 999])


def network(z: Tensor, time: Tensor, condition: Tensor) -> Tensor:
    """Any function of all that it is told, with numbers of size one."""
    told = expand_like(time.float() / 500 + condition, z)
    return torch.tanh(z.roll(1, 2) * 0.7 + told) + 0.3 * z.flip(3)


def sides(n: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n, *SHAPE, generator=generator) * 2 - 1
    return x, torch.randn(n, *SHAPE, generator=generator), torch.arange(n) % 3


def converted(convention: Epsilon | Flow) -> ExternalDenoiser:
    return ExternalDenoiser(network, convention, SHAPE, ("a", "b"), torch.tensor([0.5, 1.5, 2.5]))


def loss(made: ExternalDenoiser, sigma: Tensor) -> Tensor:
    x, noise, classes = sides(len(sigma))
    clean = made.denoise(x + expand_like(sigma, x) * noise, sigma, made.condition(classes))
    return (clean - x).double().square().flatten(1).mean(1)


def mean(miss: Tensor) -> Tensor:
    return miss.double().square().flatten(1).mean(1)


def test_epsilon_agrees_with_its_native_loss():
    x, noise, classes = sides(len(STEPS))
    a, b = ABAR[STEPS].sqrt(), (1 - ABAR[STEPS]).sqrt()
    z = expand_like(a, x) * x + expand_like(b, x) * noise
    made = converted(Epsilon(NoiseSchedule.from_alphas_bar(ABAR)))
    native = mean(network(z, STEPS, made.condition(classes)) - noise)
    sigma = b / a
    assert torch.allclose(loss(made, sigma.float()) / sigma**2, native, rtol=1e-5, atol=1e-5)


def test_velocity_agrees_with_its_native_loss():
    x, noise, classes = sides(len(STEPS))
    a, b = ABAR[STEPS].sqrt(), (1 - ABAR[STEPS]).sqrt()
    z = expand_like(a, x) * x + expand_like(b, x) * noise
    made = converted(Velocity(NoiseSchedule.from_alphas_bar(ABAR)))
    target = expand_like(a, x) * noise - expand_like(b, x) * x
    native = mean(network(z, STEPS, made.condition(classes)) - target)
    sigma = b / a
    scaled = loss(made, sigma.float()) * (1 + sigma**2) / sigma**2
    assert torch.allclose(scaled, native, rtol=1e-5, atol=1e-5)


def test_flow_agrees_with_its_native_loss():
    time = torch.tensor([0.01, 0.2, 0.5, 0.9, 0.99], dtype=torch.float64)
    x, noise, classes = sides(len(time))
    z = expand_like(1 - time, x) * x + expand_like(time, x) * noise
    made = converted(Flow())
    native = mean(network(z, 1000 * time, made.condition(classes)) - (noise - x))
    sigma = time / (1 - time)
    assert torch.allclose(loss(made, sigma.float()) / time**2, native, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("convention", [Epsilon, Velocity])
def test_a_network_that_knows_the_noise_gives_back_the_image(convention: type[Epsilon]):
    x, noise, _ = sides(3)
    sigma = torch.tensor([0.1, 1.0, 10.0])
    a, b = (1 + sigma**2).rsqrt(), sigma * (1 + sigma**2).rsqrt()
    out = noise if convention is Epsilon else expand_like(a, x) * noise - expand_like(b, x) * x
    made = replace(
        converted(convention(NoiseSchedule.from_alphas_bar(ABAR))), network=lambda z, t, c: out
    )
    clean = made.denoise(x + expand_like(sigma, x) * noise, sigma, torch.zeros(3))
    assert torch.allclose(clean, x, atol=1e-5)


def test_steps_are_found_by_signal_to_noise_and_not_by_index():
    every, fourth = NoiseSchedule.from_alphas_bar(ABAR), NoiseSchedule.from_alphas_bar(ABAR[3::4])
    sigma = fourth.sigmas[[10, 100, 200]].float()
    assert torch.allclose(fourth.find_step(sigma), torch.tensor([10.0, 100.0, 200.0]), atol=1e-3)
    assert torch.allclose(every.find_step(sigma), torch.tensor([43.0, 403.0, 803.0]), atol=1e-3)


def test_between_steps_ln_sigma_is_interpolated_or_the_nearest_step_taken():
    schedule = NoiseSchedule.from_alphas_bar(ABAR)
    between = (schedule.sigmas[500].log() * 0.7 + schedule.sigmas[501].log() * 0.3).exp()[None]
    assert schedule.find_step(between).item() == pytest.approx(500.3, abs=1e-6)
    whole = replace(schedule, integer_steps=True).find_step(between)
    assert whole.item() == 500
    assert whole.dtype == torch.int64
    beyond = schedule.find_step(torch.tensor([1e-6, 1e6]))
    assert beyond.tolist() == [0, 999]


def test_a_last_step_of_pure_noise_is_left_out():
    abar = torch.cat([ABAR, torch.zeros(1, dtype=torch.float64)])
    schedule = NoiseSchedule.from_alphas_bar(abar)
    assert len(schedule.sigmas) == 1000
    assert math.isfinite(schedule.sigma_range[1])


@pytest.mark.parametrize(
    "abar", [torch.tensor([0.9]), torch.tensor([0.5, 0.6]), torch.tensor([1.0, 0.5]),
             torch.tensor([0.9, -0.1, -0.2])]
)  # fmt: skip
def test_no_schedule_is_refused(abar: Tensor):
    with pytest.raises(InputError, match="abar"):
        NoiseSchedule.from_alphas_bar(abar)


def test_a_learned_variance_is_left_aside():
    def two(z: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        return torch.cat([network(z, time, condition), torch.full_like(z, 1e9)], 1)

    made = converted(Epsilon(NoiseSchedule.from_alphas_bar(ABAR)))
    sigma = torch.tensor([0.5, 2.0])
    assert torch.equal(loss(made, sigma), loss(replace(made, network=two), sigma))


def test_each_class_has_its_condition_and_the_last_is_for_none():
    made = converted(Flow())
    assert made.condition(torch.tensor([1, 0, -1])).tolist() == [1.5, 0.5, 2.5]
    with pytest.raises(InputError, match="2 conditions for 2 classes"):
        replace(made, conditions=torch.zeros(2))
