"""Every class at every level, the paper's stages, and what all strategies share."""

import pytest
import torch
from torch import Tensor

from helpers.gaussian_world import World
from ilk.core.errors import InputError
from ilk.diffusion.classification import strategy
from ilk.diffusion.classification.exhaustive import Exhaustive
from ilk.diffusion.classification.race import Race
from ilk.diffusion.classification.staged import SCHEDULES, StagedPruning
from ilk.diffusion.errors.class_errors import (
    Measure,
    compute_class_errors,
    compute_scores,
    draw_level_noise,
)
from ilk.diffusion.errors.levels import Levels
from ilk.diffusion.result import ClassificationResult

PUBLISHED = {  # classes, naive calls, calls with pruning, new levels of each stage
    "food101": (101, 50_500, 5_570, [20, 50, 80, 350]),
    "cifar10": (10, 5_000, 2_750, [50, 450]),
    "aircraft": (100, 50_000, 5_550, [20, 50, 80, 350]),
    "pets": (37, 9_250, 2_050, [25, 225]),
    "flowers102": (102, 51_000, 5_590, [20, 50, 80, 350]),
    "stl10": (10, 5_000, 3_000, [100, 400]),
    "imagenet": (1000, 1_000_000, 124_500, [50, 100, 400, 450]),
    "objectnet": (113, 113_000, 14_400, [50, 100, 400, 450]),
}
EVERY = [Exhaustive(), StagedPruning((3, 12), (2, 1)), Race(0.05, min_levels=3)]


def same(a: ClassificationResult, b: ClassificationResult) -> bool:
    return torch.equal(a.scores, b.scores) and torch.equal(a.n_calls, b.n_calls)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_schedules_cost_what_the_paper_says(name: str):
    classes, naive, pruned, fresh = PUBLISHED[name]
    published = SCHEDULES[name]
    levels = max(published.strategy.samples)
    assert published.classes == classes
    assert classes * levels == naive
    assert [len(places) for places in published.strategy.plan_stages(levels)] == fresh
    assert published.strategy.count_calls(classes, levels) == pruned


@pytest.mark.parametrize("name", ["cifar10", "pets", "food101", "imagenet"])
def test_and_the_network_is_called_as_often(name: str):
    classes, _, pruned, _ = PUBLISHED[name]
    world, published = World(classes, size=1, apart=0.3), SCHEDULES[name]
    levels = Levels.from_schedule(
        world, max(published.strategy.samples), distance=published.distance
    )
    x, _ = world.images(1)
    measure = Measure(published.distance, batch_size=8192)
    verdict = published.strategy.score_batch(world, x, levels, measure)
    assert verdict.n_calls.tolist() == [pruned]
    assert world.calls == pruned


def test_grids_are_the_formula_and_do_not_nest():
    for levels, n in ((500, 20), (500, 50), (1000, 100), (250, 25), (37, 5)):
        stride = levels // n
        want = [(levels // n) // 2 + j * stride for j in range(n)]
        assert StagedPruning((n,), (1,)).plan_stages(levels) == [want]
    first, second = StagedPruning((20, 50), (9, 1)).plan_stages(500)
    assert not set(first) & set(second)
    assert (first[:2], second[:2]) == ([12, 37], [5, 15])


def pruned(made: Tensor, staged: StagedPruning, levels: int) -> tuple[int, list[set[int]]]:
    """One image's answer and the classes of each stage, from weighted errors `[k, levels]`."""
    left, seen, stages = set(range(len(made))), list[int](), []
    for n, keep in zip(staged.samples, staged.keep, strict=True):
        stages.append(left)
        grid = [levels // n // 2 + j * (levels // n) for j in range(n)]
        seen += [t for t in grid if t not in seen]
        means = {c: float(made[c, seen].double().mean()) for c in left}
        left = set(sorted(left, key=means.__getitem__)[:keep])
    return left.pop(), stages


def test_classes_are_pruned_as_one_image_at_a_time_would_be():
    world = World(8)
    levels, staged = Levels.from_schedule(world, 40), StagedPruning((4, 10, 40), (5, 2, 1))
    x, _ = world.images(25)
    made = compute_class_errors(
        world, x, torch.tensor(levels.sigmas), draw_level_noise(world, 40)
    ).double()
    made = made * torch.tensor(levels.weights)
    verdict = staged.score_batch(world, x, levels)
    plan, cut = staged.plan_stages(40), 0
    for i in range(25):
        answer, stages = pruned(made[i], staged, 40)
        assert int(verdict.scores[i].argmax()) == answer
        cut += answer != int(made[i].mean(1).argmin())
        calls = sum(len(s) * len(p) for s, p in zip(stages, plan, strict=True))
        assert int(verdict.n_calls[i]) == calls == staged.count_calls(8, 40)
    assert cut  # pruning does change answers here, so the twins do not agree by luck


def test_stages_count_levels_by_sigma_whatever_their_order():
    world = World()
    levels = Levels.from_schedule(world, 12)
    x, _ = world.images(9)
    mixed = levels.take([7, 2, 11, 0, 5, 9, 1, 10, 3, 8, 6, 4])
    once, again = (EVERY[1].score_batch(world, x, which) for which in (levels, mixed))
    assert torch.equal(once.scores.argmax(1), again.scores.argmax(1))
    torch.testing.assert_close(once.scores, again.scores)


def test_nothing_pruned_is_naive_and_naive_is_the_estimator():
    world = World()
    levels = Levels.log_spaced(world, 12)
    x, _ = world.images(11)
    made = compute_class_errors(
        world, x, torch.tensor(levels.sigmas), draw_level_noise(world, 12, 5)
    )
    naive = Exhaustive().score_batch(world, x, levels, seed=5)
    torch.testing.assert_close(naive.scores, compute_scores(made, torch.tensor(levels.weights)))
    assert naive.n_calls.tolist() == [48] * 11
    assert naive.scores.dtype == torch.float32
    assert same(naive, StagedPruning((3, 12), (4, 1)).score_batch(world, x, levels, seed=5))
    assert not same(naive, Exhaustive().score_batch(world, x, levels, seed=6))


def test_what_was_pruned_scores_below_the_answer_by_what_was_seen():
    world = World(6)
    levels, staged = Levels.from_schedule(world, 12), StagedPruning((3, 12), (2, 1))
    x, _ = world.images(40)
    made = compute_class_errors(
        world, x, torch.tensor(levels.sigmas), draw_level_noise(world, 12)
    ).double()
    made = made * torch.tensor(levels.weights, dtype=torch.float64)
    found = staged.score_batch(world, x, levels).scores.double()
    first = staged.plan_stages(12)[0]
    for i in range(40):
        best = int(found[i].argmax())
        means = made[i][:, first].mean(1)
        early = set(means.argsort()[2:].tolist())
        for c in range(6):
            all_levels = (made[i, c] - made[i, best]).mean()
            want = (means[c] - means[best]).clamp(min=0) if c in early else all_levels
            assert float(found[i, best] - found[i, c]) == pytest.approx(float(want), abs=2e-6)


@pytest.mark.parametrize("strategy_", EVERY, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("distance", ["l2", "l1", "huber"])
def test_an_image_is_judged_alone(strategy_, distance: str, monkeypatch):
    world, measure = World(apart=0.3), Measure(distance, batch_size=7)
    levels = Levels.log_spaced(world, 12, distance=distance)
    x, y = world.images(30)
    whole = strategy_.score_batch(world, x, levels, measure)
    assert (whole.scores.argmax(1) == y).double().mean() > 0.6
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    mixed = strategy_.score_batch(world, x[order], levels, measure)
    assert same(mixed, ClassificationResult(whole.scores[order], whole.n_calls[order]))
    one = strategy_.score_batch(world, x[4:5], levels, Measure(distance))
    assert same(one, ClassificationResult(whole.scores[4:5], whole.n_calls[4:5]))
    monkeypatch.setattr(strategy, "MAX_ERRORS", 150)  # three images a lot
    monkeypatch.setattr(strategy, "MAX_CALLS", 5)
    assert same(strategy_.score_batch(world, x, levels, measure), whole)


@pytest.mark.parametrize("strategy_", EVERY, ids=lambda s: type(s).__name__)
def test_what_is_told_and_counted_is_what_was_called(strategy_):
    world, told = World(), []
    levels = Levels.log_spaced(world, 12)
    x, _ = world.images(10)

    class Telling:
        def __init__(self, _what: str, total: int) -> None:
            told.append(-total)

        def __enter__(self):
            return told.append

        def __exit__(self, *_args: object) -> None:
            pass

    verdict = strategy_.score_batch(world, x, levels, progress=Telling)
    assert int(verdict.n_calls.sum()) == world.calls <= 480
    assert told[0] == -480
    assert sum(told) == 0
    assert strategy_.score_batch(world, x[:0], levels).scores.shape == (0, 4)


def test_more_classes_than_fit_are_asked_for_in_parts():
    world = World(50)
    levels = Levels.log_spaced(world, 4)
    x, _ = world.images(3)
    roomy = Exhaustive().score_batch(world, x, levels)
    world.told = 0
    tight = World(50, most=9)
    assert same(Exhaustive().score_batch(tight, x, levels, Measure(batch_size=64)), roomy)
    assert tight.told <= 64
    assert torch.equal(
        compute_class_errors(tight, x, torch.tensor([0.3]), draw_level_noise(tight, 1)),
        compute_class_errors(world, x, torch.tensor([0.3]), draw_level_noise(world, 1)),
    )
    with pytest.raises(InputError, match="not one call of this network fits in the memory of cpu"):
        Exhaustive().score_batch(World(50, most=0), x, levels)


def test_a_network_that_breaks_otherwise_says_so_itself():
    world = World()
    world.denoise = lambda *_args: (_ for _ in ()).throw(RuntimeError("sizes do not match"))
    with pytest.raises(RuntimeError, match="sizes do not match"):
        Exhaustive().score_batch(world, world.images(2)[0], Levels.log_spaced(world, 2))


def test_bad_input_is_refused():
    world = World()
    levels = Levels.log_spaced(world, 12)
    x, _ = world.images(2)
    with pytest.raises(InputError, match="500 samples cannot be taken from 12 noise levels"):
        StagedPruning().score_batch(world, x, levels)
    with pytest.raises(InputError, match="1 x 2 x 2 cannot be processed"):
        Exhaustive().score_batch(world, x[:, :, :2, :2], levels)
    with pytest.raises(InputError, match="not finite at noise level"):
        Exhaustive().score_batch(world, x * torch.nan, levels)
    with pytest.raises(InputError, match="without classes"):
        Exhaustive().score_batch(World(0), x, levels)
    for wrong in (((), ()), ((5,), (2, 1)), ((5, 0), (2, 1)), ((5, 9), (2, 3)), ((5, 9), (3, 2))):
        with pytest.raises(InputError):
            StagedPruning(*wrong)
