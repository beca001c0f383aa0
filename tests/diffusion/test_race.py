"""The race: what it may change, what it saves, and what it says of classes that were stopped."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.gaussian_world import World
from ilk.core.errors import ArtifactError, InputError
from ilk.diffusion.classification.exhaustive import Exhaustive
from ilk.diffusion.classification.race import Race
from ilk.diffusion.classification.shortlist import Shortlist
from ilk.diffusion.classification.staged import StagedPruning
from ilk.diffusion.classification.stopping_bound import (
    StoppingBound,
    compute_lag,
    compute_quantile_rank,
    count_min_images,
    estimate_lag_scale,
)
from ilk.diffusion.classification.strategy import Ledger, select_lowest
from ilk.diffusion.errors.class_errors import compute_class_errors
from ilk.diffusion.errors.level_order import order_evenly
from ilk.diffusion.errors.levels import Levels

K, L = 6, 24
SIGMAS = tuple(map(float, np.geomspace(0.1, 6, L)))
EQUAL = Levels(SIGMAS, (1.0,) * L)


@dataclass
class Known:
    """Stands in for a network's calls: errors `[n, k, levels]` that are known beforehand."""

    made: Tensor
    n_calls: int = 0

    def compute(self, image: Tensor, label: Tensor, level: Tensor) -> Tensor:
        self.n_calls += len(image)
        return self.made[image, label, level]


def simulated(n: int, seed: int) -> Tensor:
    """Errors whose size, signal and noise differ from level to level, with heavy tails.

    Some images are easy and some have no right class at all; each has a level of its own.
    """
    rng = np.random.default_rng(seed)
    j = np.arange(L)
    signal, noise = np.exp(-(((j - 8) / 6) ** 2)), 0.3 + 0.7 * (j % 5) / 4
    ease = rng.exponential(1.5, (n, 1, 1)) * (rng.random((n, 1, 1)) > 0.1)
    worse = rng.gamma(2.0, 0.5, (n, K, 1))
    worse[np.arange(n), rng.integers(0, K, n)] = 0
    made = ease * worse * signal + noise * rng.standard_t(4, (n, K, L))
    return torch.tensor(made + rng.normal(size=(n, 1, 1)) + 20 * np.exp(-j / 7))


def run(race: Race, made: Tensor, levels: Levels = EQUAL) -> tuple[Tensor, Tensor]:
    """Answers of a race on known errors, and its calls."""
    live = torch.ones(made.shape[:2], dtype=torch.bool)
    known = Known(made)
    ledger = Ledger(known, levels, live, torch.zeros(live.shape), lambda _n: None)
    answers = race.find_winners(ledger)
    verdict = ledger.make_result(answers, race.get_extrapolation(len(levels)))
    assert torch.equal(verdict.scores.argmax(1), answers)
    assert bool(verdict.scores.isfinite().all())
    assert int(verdict.n_calls.sum()) == known.n_calls
    return answers, verdict.n_calls


def full(made: Tensor) -> Tensor:
    return made.sum(2).argmin(1)


@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_answers_change_no_more_often_than_was_asked(rate: float):
    fresh = simulated(2000, 0)
    changed, spent = [], []
    for seed in range(1, 21):
        race = Race.calibrate(simulated(200, seed), EQUAL, rate)
        answers, calls = run(race, fresh)
        changed.append(float((answers != full(fresh)).double().mean()))
        spent.append(float(calls.double().mean()))
    # one rate holds on average over calibrations; 3 standard errors of that average on top
    assert np.mean(changed) < rate + 3 * np.std(changed) / math.sqrt(len(changed))
    assert np.mean(changed) > rate / 5  # the rate is used, not merely kept
    assert np.mean(spent) < (0.85 if rate < 0.1 else 0.6) * K * L


def test_an_image_changes_only_where_its_winner_lags_beyond_the_limit():
    race = Race.calibrate(simulated(150, 3), EQUAL, 0.1)
    fresh = simulated(3000, 4)
    beyond = (compute_lag(fresh) / torch.tensor(race.bound.lag_scale))[:, :-1].amax(
        1
    ) > race.bound.max_lag_ratio
    changed = run(race, fresh)[0] != full(fresh)
    assert bool(changed.any())
    assert not bool((changed & ~beyond).any())


def test_the_limit_is_the_papers_order_statistic():
    for n, rate, want in ((99, 0.01, 99), (98, 0.01, 99), (199, 0.05, 190), (9, 0.1, 9)):
        assert compute_quantile_rank(n, rate) == want
    made = simulated(200, 5)
    pace = StoppingBound.from_errors(made, EQUAL, 0.05)
    mixed = np.random.default_rng(0).permutation(200)
    ratio = (compute_lag(made[mixed[50:]]) / torch.tensor(pace.lag_scale))[:, :-1].amax(1)
    assert int((ratio <= pace.max_lag_ratio).sum()) == math.ceil(0.95 * 151)
    for rate in (0.5, 0.1, 0.01, 0.003):
        n = count_min_images(rate)
        StoppingBound.from_errors(simulated(n, 6), EQUAL, rate)
        with pytest.raises(InputError, match=f"{n - 1} images are too few"):
            StoppingBound.from_errors(simulated(n - 1, 6), EQUAL, rate)
        short = 1 / (n - min(50, n // 4))
        assert short <= rate * 1.3


def test_lags_and_yardstick_are_those_of_one_image_at_a_time():
    made = simulated(7, 7)
    found, noise = compute_lag(made), torch.zeros(L)
    for i in range(7):
        winner, second = made[i].sum(1).argsort()[:2].tolist()
        noise += ((made[i, second] - made[i, winner]) ** 2 / 7).cumsum(0)
        for m in range(1, L + 1):
            sums = made[i, :, :m].sum(1)
            assert found[i, m - 1].item() == pytest.approx(float(sums[winner] - sums.min()))
    assert estimate_lag_scale(made)[0].tolist() == pytest.approx(noise.sqrt().tolist())
    assert found[:, -1].abs().max() < 1e-9


def test_an_uncalibrated_race_keeps_its_rate_where_beginnings_are_even():
    made = simulated(4000, 8)[:, :, order_evenly(L)]
    for rate in (0.01, 0.05):
        answers, calls = run(Race(rate), made)
        assert float((answers != full(made)).double().mean()) <= rate
        assert float(calls.double().mean()) < 0.9 * K * L


def test_the_test_statistic_is_students_for_a_sample_without_replacement():
    made = simulated(1, 9)[:, :2, :10]
    found, m = made, 10
    lead = int(found.sum(2).argmin(1))
    d = (found[0, 1 - lead] - found[0, lead]).numpy()
    t = d.mean() / (d.std(ddof=1) * math.sqrt(1 / m - 1 / L))
    from scipy import stats

    p = float(stats.t.sf(t, m - 1))
    live = torch.ones(1, 2, dtype=torch.bool)
    for rate, stopped in ((1.01 * p, True), (0.99 * p, False)):
        lost = Race(rate).find_eliminated(found, live, L)
        assert bool(lost[0, 1 - lead]) is stopped
        assert not bool(lost[0, lead])


@pytest.mark.parametrize("race", [Race(0.0), "calibrated"])
def test_a_race_that_may_change_nothing_is_naive(race):
    world = World()
    levels = Levels.log_spaced(world, 10)
    x, _ = world.images(20)
    if race == "calibrated":
        made = compute_class_errors(world, x, torch.tensor(levels.sigmas), levels.draw_noise(world))
        race = Race.calibrate(made, levels, 0.0)
        assert race.bound.max_lag_ratio == math.inf
    verdict, naive = (s.score_batch(world, x, levels) for s in (race, Exhaustive()))
    assert torch.equal(verdict.n_calls, naive.n_calls)
    torch.testing.assert_close(verdict.scores, naive.scores, atol=0, rtol=1e-6)


def calibrated(world: World, levels: Levels, rate: float) -> Race:
    x, _ = world.images(200, seed=1)
    made = compute_class_errors(world, x, torch.tensor(levels.sigmas), levels.draw_noise(world))
    return Race.calibrate(made, levels, rate)


def test_a_calibrated_race_on_a_network():
    world = World(apart=0.3)
    levels = Levels.log_spaced(world, 16)
    race = calibrated(world, levels, 0.05)
    x, _ = world.images(600)
    world.calls = 0
    verdict = race.score_batch(world, x, levels)
    assert int(verdict.n_calls.sum()) == world.calls
    naive = Exhaustive().score_batch(world, x, levels)
    assert verdict.n_calls.double().mean() < 0.5 * 64
    same = verdict.scores.argmax(1) == naive.scores.argmax(1)
    assert float((~same).double().mean()) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)
    order = torch.randperm(600, generator=torch.Generator().manual_seed(0))
    mixed = race.score_batch(world, x[order], levels)
    assert torch.equal(mixed.scores, verdict.scores[order])
    assert torch.equal(mixed.n_calls, verdict.n_calls[order])
    stopped = verdict.n_calls < 64
    gaps = [v.scores.amax(1, keepdim=True)[stopped] - v.scores[stopped] for v in (verdict, naive)]
    together = torch.corrcoef(torch.stack([gap.flatten() for gap in gaps]))[0, 1]
    assert together > 0.8  # estimates stand for what all levels would have said …
    assert 0.7 < float(gaps[0].mean() / gaps[1].mean()) < 1.4  # … on the same scale


def test_errors_are_picked_from_the_levels_they_were_taken_at():
    made, y = simulated(200, 10), torch.arange(200) % K
    learned = Levels.learn(made, y, EQUAL, max_levels=9)
    picked = made[:, :, [EQUAL.noise_indices.index(d) for d in learned.noise_indices]]
    assert Race.calibrate(made, learned, 0.1, error_levels=EQUAL) == Race.calibrate(
        picked, learned, 0.1
    )
    with pytest.raises(InputError, match="do not calibrate 9 noise levels"):
        Race.calibrate(made, learned, 0.1)


def test_a_shortlist_asks_for_nothing_else():
    world = World(8)
    levels = Levels.log_spaced(world, 10)
    x, _ = world.images(12)
    cheap = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    best = cheap.argsort(1, descending=True)
    for inner in (Race(0.05, min_levels=3), Exhaustive(), StagedPruning((2, 10), (3, 1))):
        world.calls = 0
        verdict = Shortlist(cheap, 3, inner).score_batch(world, x, levels)
        assert world.calls == int(verdict.n_calls.sum()) <= 12 * 30
        assert bool(verdict.scores.isfinite().all())
        scores = verdict.scores.gather(1, best)  # by the cheap head, best first
        assert bool((scores[:, :3].amin(1) > scores[:, 3]).all())
        assert bool((scores[:, 3:].diff(dim=1) < 0).all())
        whole = Shortlist(cheap, 8, inner).score_batch(world, x, levels)
        assert torch.equal(whole.scores, inner.score_batch(world, x, levels).scores)
    naive = Exhaustive().score_batch(world, x, levels).scores
    among = torch.full_like(naive, -torch.inf).scatter(1, best[:, :3], naive.gather(1, best[:, :3]))
    some = Shortlist(cheap, 3, Exhaustive()).score_batch(world, x, levels)
    assert torch.equal(some.scores.argmax(1), among.argmax(1))
    one = Shortlist(cheap, 1).score_batch(world, x, levels)
    assert one.n_calls.tolist() == [0] * 12
    assert torch.equal(one.scores.argsort(1, descending=True), best)


def test_a_pace_outlives_a_file():
    for rate in (0.1, 0.0):
        pace = StoppingBound.from_errors(simulated(60, 11), EQUAL, rate)
        assert StoppingBound.from_json(pace.to_json()) == pace
    for wrong in ({}, {**pace.to_json(), "lag_scale": [1.0]}, []):
        with pytest.raises(ArtifactError):
            StoppingBound.from_json(wrong)


def test_growth_is_what_differences_grow_by():
    steps = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    made = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)[None, :, None] * steps
    assert estimate_lag_scale(made)[1].tolist() == pytest.approx([2, 2, 4 / 3, 1])


def test_bad_input_is_refused():
    world = World()
    levels = Levels.log_spaced(world, 10)
    x, _ = world.images(3)
    race = calibrated(world, levels, 0.1)
    with pytest.raises(InputError, match="calibrated on other noise levels"):
        race.score_batch(world, x, levels.take(range(9)))
    for rate in (-0.1, 1.0, math.nan):
        with pytest.raises(InputError, match="must be at least 0 and below 1"):
            Race(rate)
    with pytest.raises(InputError, match="at least 2"):
        Race(min_levels=1)
    with pytest.raises(InputError, match="not finite"):
        Race.calibrate(simulated(200, 1) / 0, EQUAL)
    with pytest.raises(InputError, match="are not of 24 noise levels"):
        Race.calibrate(torch.ones(99, 4, 3), levels, error_levels=EQUAL)
    with pytest.raises(InputError, match="cheap scores of shape"):
        Shortlist(torch.zeros(3, 9), 2).score_batch(world, x, levels)
    with pytest.raises(InputError, match="holds no answer"):
        Shortlist(torch.zeros(3, 4), 0)
    with pytest.raises(InputError, match="not finite"):
        Shortlist(torch.zeros(3, 4) / 0, 1)
    assert select_lowest(torch.tensor([[1.0, 1.0]]), torch.tensor([[False, True]])).tolist() == [1]
