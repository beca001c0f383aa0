"""The choice of a single noise: nothing that was optimized on decides, and zero may win."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from diffusion.test_optimized_noise import Mixtures, drawn, world
from ilk.core.errors import InputError, NoLabels
from ilk.diffusion.errors.class_errors import compute_class_errors
from ilk.diffusion.errors.denoising_errors import Measure
from ilk.diffusion.noise_optimization import selection
from ilk.diffusion.noise_optimization.ensemble import NoiseEnsemble
from ilk.diffusion.noise_optimization.labelled_parts import divide_images
from ilk.diffusion.noise_optimization.optimized_noise import OptimizedNoise, make_fixed_noise
from ilk.diffusion.noise_optimization.selection import (
    Candidate,
    NoiseSelectionConfig,
    choose_members,
    select_noises,
)
from ilk.diffusion.noise_optimization.single_noise import (
    INVERSE_TEMPERATURES,
    minimize_score_entropy,
)
from ilk.diffusion.noise_optimization.tuning import NoiseTuningConfig, optimize_noise

L1 = Measure("l1")
QUICK = NoiseSelectionConfig(n_levels=4, n_random=3, n_optimized=1)


def entropy(scores: torch.Tensor, y: torch.Tensor) -> float:
    rows = torch.arange(len(y))
    return min(
        float(-(scores.double() * t).log_softmax(1)[rows, y].mean()) for t in INVERSE_TEMPERATURES
    )


def test_the_epoch_that_is_kept_is_the_best_on_held_out_images():
    model = world()
    training, held_out = drawn(model, 16, 1), drawn(model, 200, 2)
    settings = NoiseTuningConfig(epochs=12, lr=0.1, initial_scale=1.0, seed=3, check_every=3)
    kept = optimize_noise(model, *training, 3.0, settings, validation=held_out)
    losses = {}
    for epochs in (3, 6, 9, 12):
        noise = optimize_noise(model, *training, 3.0, replace(settings, epochs=epochs))
        losses[epochs] = entropy(noise.score_batch(model, held_out[0]).scores, held_out[1])
    still = optimize_noise(model, *training, 3.0, replace(settings, epochs=1, lr=1e-9))
    losses[0] = entropy(still.score_batch(model, held_out[0]).scores, held_out[1])
    best = min(losses, key=lambda e: losses[e])
    assert kept.metadata["epoch"] == best
    assert kept.metadata["validation loss"] == pytest.approx(losses[best], rel=1e-4)
    assert best != 12  # such a rate of learning goes too far, so that the choice matters
    mixed = (held_out[0], torch.full((200,), -1))
    with pytest.raises(NoLabels):
        optimize_noise(model, *training, 3.0, settings, validation=mixed)


def test_what_is_chosen_is_best_on_held_out_images_and_zero_noise_may_be(monkeypatch):
    model = world()
    training, held_out = drawn(model, 24, 1), drawn(model, 120, 2)
    chosen = select_noises(model, training, held_out, QUICK)
    assert len(chosen.members) == 1
    compared = chosen.metadata["candidates"]
    assert set(compared) == {"none", "random", "optimised"}
    best = chosen.members[0].metadata["kind"]
    assert compared[best]["loss"] <= compared["none"]["loss"]
    scores = chosen.score_batch(model, held_out[0]).scores
    assert compared[best]["loss"] == pytest.approx(entropy(scores, held_out[1]), rel=1e-5)
    assert compared[best]["accuracy"] == pytest.approx(
        float((scores.argmax(1) == held_out[1]).double().mean())
    )
    sigma = compared["none"]["sigma"]
    zero = torch.zeros(1, *model.shape)
    errors = compute_class_errors(model, held_out[0], torch.tensor([sigma]), zero, L1)[:, :, 0]
    right = float((errors.argmin(1) == held_out[1]).double().mean())
    assert compared["none"]["accuracy"] == pytest.approx(right)

    def spoil(*args: object, **named: object) -> OptimizedNoise:
        return make_fixed_noise(model, 50 * torch.randn(model.shape), sigma, L1, "spoiled")

    monkeypatch.setattr(selection, "optimize_noise", spoil)
    spoiled = select_noises(model, training, held_out, replace(QUICK, n_random=0))
    assert spoiled.members[0].metadata["kind"] == "none"
    assert not spoiled.members[0].noise.any()


def test_the_images_of_training_choose_nothing():
    model = world()
    training, held_out = drawn(model, 16, 1), drawn(model, 60, 2)
    fixed = replace(QUICK, n_optimized=0)
    spoiled = (training[0], (training[1] + 1) % 4)
    first, second = (select_noises(model, part, held_out, fixed) for part in (training, spoiled))
    assert first.metadata == second.metadata
    assert torch.equal(first.members[0].noise, second.members[0].noise)


def make_candidate(model: Mixtures, scores: torch.Tensor, sigma: float) -> Candidate:
    return Candidate(make_fixed_noise(model, torch.zeros(model.shape), sigma, L1, "none"), scores)


def test_members_are_added_while_they_help_and_never_twice():
    model, y = world(), torch.arange(200) % 4
    generator = torch.Generator().manual_seed(0)
    truth = functional.one_hot(y, 4).float()

    def blur(strength: float) -> torch.Tensor:
        return strength * truth + torch.randn(200, 4, generator=generator)

    good, fair, useless = blur(1.5), blur(1.2), 9 * blur(0.0)
    candidates = [
        make_candidate(model, scores, sigma)
        for scores, sigma in ((useless, 1.0), (fair, 2.0), (good, 3.0))
    ]
    assert [c.noise.sigma for c in choose_members(candidates, y, 1)] == [3.0]
    assert [c.noise.sigma for c in choose_members(candidates, y, 3)] == [3.0, 2.0]
    assert [c.noise.sigma for c in choose_members(candidates[2:], y, 3)] == [3.0]
    assert float(minimize_score_entropy(good, y)) == pytest.approx(entropy(good, y))


def test_zero_noise_is_preferred_to_what_is_better_by_chance():
    model, y = world(), torch.arange(100) % 4
    generator = torch.Generator().manual_seed(2)
    truth = functional.one_hot(y, 4).float()
    zero = make_candidate(model, truth + torch.randn(100, 4, generator=generator), 1.0)

    def noisy(scores: torch.Tensor) -> Candidate:
        fixed = make_fixed_noise(model, torch.ones(model.shape), 1.0, L1, "random")
        return Candidate(fixed, scores)

    lucky = zero.scores.clone()
    lucky[torch.arange(30), y[:30]] += 0.5  # thirty images gain a little, twenty lose
    lucky[torch.arange(30, 50), y[30:50]] -= 0.5
    assert entropy(lucky, y) < entropy(zero.scores, y)
    assert choose_members([zero, noisy(lucky)], y, 1) == [zero]
    better = noisy(zero.scores + truth)
    assert choose_members([zero, better], y, 1) == [better]
    assert choose_members([noisy(lucky)], y, 1)[0].noise.metadata["kind"] == "random"


def test_an_ensemble_averages_standardised_errors_and_counts_its_calls():
    model = world()
    x, _ = drawn(model, 6, 1)
    noises = torch.randn(2, *model.shape, generator=torch.Generator().manual_seed(1))
    members = [
        make_fixed_noise(model, n, s, L1, "random") for n, s in zip(noises, (0.5, 2.0), strict=True)
    ]
    result = NoiseEnsemble(tuple(members)).score_batch(model, x)
    z = []
    for noise, sigma in zip(noises, (0.5, 2.0), strict=True):
        e = compute_class_errors(model, x, torch.tensor([sigma]), noise[None], L1)[:, :, 0]
        z.append((e - e.mean(1, keepdim=True)) / e.std(1, correction=0, keepdim=True))
    assert torch.allclose(result.scores, -(z[0] + z[1]) / 2, atol=1e-4)
    assert result.n_calls.tolist() == [8] * 6


def test_images_are_divided_once_and_groups_stay_together():
    y = np.arange(90) % 3
    parts = divide_images(y, 4)
    rows = np.concatenate([parts.training, parts.validation, parts.test])
    assert sorted(rows) == list(range(90))
    assert np.bincount(y[parts.training]).tolist() == [4, 4, 4]
    assert abs(len(parts.validation) - len(parts.test)) <= 1
    group = np.arange(90) // 6
    parts = divide_images(y, 4, group)
    groups = [set(group[r]) for r in (parts.training, parts.validation, parts.test)]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    assert len(parts.validation)
    few = divide_images(np.arange(12) % 3, 4)
    assert (len(few.training), len(few.validation), len(few.test)) == (9, 3, 0)
    assert len(divide_images(np.arange(3000) % 3, 8).validation) == 400
    with pytest.raises(InputError, match="at least 2 images per class"):
        divide_images(np.arange(3), 4)


def test_bad_input_is_refused():
    model = world()
    training = drawn(model, 8, 1)
    with pytest.raises(NoLabels):
        select_noises(model, training, (training[0], torch.full((8,), -1)), QUICK)
    for wrong in ({"max_members": 0}, {"n_levels": 0}, {"n_random": -1}):
        with pytest.raises(InputError, match="cannot be compared"):
            NoiseSelectionConfig(**wrong)


def test_every_optimisation_says_which_of_how_many_it_is():
    texts = []

    def progress(what, _total):
        texts.append(what)
        return nullcontext(lambda _n: None)

    model = world()
    config = NoiseSelectionConfig(n_levels=4, n_random=0, n_optimized=2)
    config = replace(config, tuning=NoiseTuningConfig(epochs=1))
    select_noises(model, drawn(model, 4, 1), drawn(model, 20, 2), config, progress)
    optimized = [t for t in texts if t.startswith("optimizing")]
    assert optimized == ["optimizing noise 1 of 2", "optimizing noise 2 of 2"]
