"""Early stopping: the best state is kept, through cuts, NaN and full disks."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from helpers.small_training import RECIPE, data, network, plain
from ilk.core.errors import InputError, OutputError
from ilk.training import checkpoint
from ilk.training.optimizers import SGD
from ilk.training.trainer import Batch, CheckpointConfig, DeviceConfig, Recipe, train
from ilk.training.validation import BestState, Validation, ValidationResult

NOISY = replace(RECIPE, steps=24, lr=0.04, warmup=0, ema_width=0.0)


def measure(net: nn.Module) -> float:
    assert not net.training
    held_out = data(60)
    with torch.no_grad():
        return -float(nn.functional.cross_entropy(net(held_out.x), held_out.y))


def same(a: nn.Module, b: nn.Module) -> bool:
    mine, theirs = a.state_dict(), b.state_dict()
    return all(torch.equal(mine[key], theirs[key]) for key in mine)


class Script:
    """Measures that are given in advance."""

    def __init__(self, *values: float) -> None:
        self.values, self.seen = list(values), 0
        self.states: list[torch.Tensor] = []

    def __call__(self, net: nn.Module) -> float:
        self.states.append(next(net.parameters()).detach().clone())
        self.seen += 1
        return self.values[self.seen - 1]


def run_script(validation: Validation, steps: int = 12) -> tuple[nn.Module, ValidationResult]:
    results: list[ValidationResult] = []
    recipe = replace(RECIPE, steps=steps)
    net = train(
        network(),
        data(),
        plain,
        recipe,
        validation=replace(validation, on_finish=results.append),
    )
    (result,) = results
    return net, result


def test_the_best_state_is_returned_and_the_run_ends_without_gain() -> None:
    script = Script(0.1, 0.5, 0.7, 0.6, 0.7, 9.0)
    net, result = run_script(Validation(script, interval=3, patience=2), steps=30)
    assert torch.equal(next(net.parameters()), script.states[2])  # the first of equal ones
    assert (result.value, result.step, result.stopped_at) == (0.7, 6, 12)
    assert result.measures == ((0, 0.1), (3, 0.5), (6, 0.7), (9, 0.6), (12, 0.7))
    assert "12 of 30" in result.note
    assert not net.training


def test_the_last_update_is_measured_though_it_is_between_two() -> None:
    script = Script(0.0, 1.0, 2.0, 3.0)
    net, result = run_script(Validation(script, interval=5), steps=12)
    assert [step for step, _ in result.measures] == [0, 5, 10, 12]
    assert result.step == 12
    assert not result.note
    whole = train(network(), data(), plain, RECIPE)
    assert same(net, whole)  # measuring changes nothing


def test_the_smallest_is_the_best_where_that_is_asked_for_and_no_number_is_the_worst() -> None:
    script = Script(math.nan, 3.0, math.inf, 2.0, 2.5)
    _, result = run_script(Validation(script, interval=3, mode="min", patience=None))
    assert (result.value, result.step) == (2.0, 9)
    assert math.isnan(result.measures[0][1])
    assert math.isnan(result.measures[2][1])


def test_a_network_that_training_makes_worse_is_returned_as_it_came() -> None:
    net, result = run_script(Validation(Script(1.0, 0.5, 0.2), interval=6))
    assert same(net, network())
    assert result.step == 0


@pytest.mark.parametrize("cut", range(0, 17, 2))
@pytest.mark.parametrize("saved_every", [1, 3, 100])
def test_a_cut_run_ends_like_an_uninterrupted_one(
    tmp_path: Path, cut: int, saved_every: int
) -> None:
    """The cut comes inside a measure, the only place where neither file nor network is complete."""
    results: list[ValidationResult] = []
    validation = Validation(measure, interval=2, patience=3, on_finish=results.append)
    whole = train(network(), data(), plain, NOISY, validation=validation)
    calls: list[int] = []

    def stop(net: nn.Module) -> float:
        calls.append(1)
        if len(calls) == cut // 2 + 1:
            raise KeyboardInterrupt
        return measure(net)

    watch = CheckpointConfig(tmp_path / "state", interval=saved_every)
    with contextlib.suppress(KeyboardInterrupt):
        train(
            network(),
            data(),
            plain,
            NOISY,
            checkpointing=watch,
            validation=replace(validation, measure=stop),
        )
    torch.manual_seed(99)
    other = nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 24), nn.Linear(24, 2))
    resumed = train(other, data(), plain, NOISY, checkpointing=watch, validation=validation)
    assert same(whole, resumed)
    again = train(other, data(), plain, NOISY, checkpointing=watch, validation=validation)
    assert same(whole, again)  # a run that is over stays over
    assert all(result == results[0] for result in results)
    assert 0 < results[0].step < results[0].stopped_at < NOISY.steps  # the case is a real one


def test_what_was_measured_before_a_cut_is_not_measured_again() -> None:
    script = Script(0.5, 0.3)
    best = BestState(Validation(script, interval=4), network(), 12)
    for step in (0, 4):
        best.update(network(), step)
    resumed = BestState(Validation(script, interval=4), network(), 12)
    resumed.load_state_dict(best.state_dict())
    resumed.update(network(), 0)
    resumed.update(network(), 4)
    assert script.seen == 2
    assert int(resumed.count) == 2


def test_without_a_validation_the_saved_state_is_that_of_earlier_versions(tmp_path: Path) -> None:
    train(network(), data(), plain, RECIPE, checkpointing=CheckpointConfig(tmp_path / "s"))
    tensors, metadata = checkpoint.load(tmp_path / "s")
    assert {key.split("/")[0] for key in tensors} == {"network", "average", "optimizer"}
    assert "layer_decay" not in metadata["recipe"]
    assert "validation" not in metadata["recipe"]
    with pytest.raises(InputError, match="validation was None"):
        train(
            network(),
            data(),
            plain,
            RECIPE,
            checkpointing=CheckpointConfig(tmp_path / "s"),
            validation=Validation(measure),
        )


@pytest.mark.parametrize("broken_at", [0, 1, 7])
def test_a_gradient_that_is_not_finite_leaves_the_best_state(
    tmp_path: Path, broken_at: int
) -> None:
    seen: list[int] = []

    def breaks(net: nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        seen.append(1)
        return plain(net, batch, generator) * (math.nan if len(seen) == broken_at + 1 else 1)

    results: list[ValidationResult] = []
    validation = Validation(measure, interval=2, on_finish=results.append)
    watch = CheckpointConfig(tmp_path / "s", interval=4)
    net = train(network(), data(), breaks, RECIPE, checkpointing=watch, validation=validation)
    (result,) = results
    assert result.stopped_at == broken_at
    assert result.value == measure(net) == max(value for _, value in result.measures)
    assert result.note.count("\n") == 0
    assert f"update {broken_at + 1}" in result.note
    assert f"that after update {result.step}, was kept" in result.note
    assert all(bool(torch.isfinite(p).all()) for p in net.parameters())
    saved = checkpoint.load(tmp_path / "s")[1]["step"]
    assert int(saved) == broken_at // 4 * 4
    seen[:] = [1] * 99
    lower = replace(RECIPE, lr=1e-3)
    train(network(), data(), breaks, lower, checkpointing=watch, validation=validation)
    assert results[1].stopped_at == RECIPE.steps  # goes on from there


def test_a_disk_that_fills_in_the_middle_keeps_the_state_before(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")  # a limit on files is a full disk to a process
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "state"

    def fill(step: int, _loss: float, _net: nn.Module) -> None:
        if step == 8:
            half = path.stat().st_size // 2
            resource.setrlimit(resource.RLIMIT_FSIZE, (half, limits[1]))

    watch = CheckpointConfig(path, interval=4, on_checkpoint=fill)
    validation = Validation(measure, interval=2, patience=None)
    try:
        with pytest.raises(OutputError, match=r"free some space.*after update 4 of 12") as caught:
            train(network(), data(), plain, RECIPE, checkpointing=watch, validation=validation)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]
    assert checkpoint.load(path)[1]["step"] == "4"
    whole = train(network(), data(), plain, RECIPE, validation=validation)
    quiet = CheckpointConfig(path, interval=4)
    resumed = train(network(), data(), plain, RECIPE, checkpointing=quiet, validation=validation)
    assert same(whole, resumed)


def test_what_cannot_be_validated_is_refused() -> None:
    for wrong in ({"interval": 0}, {"patience": 0}, {"mode": "best"}):
        with pytest.raises(InputError):
            Validation(measure, **wrong)  # type: ignore[arg-type]


def make_images(n: int = 24) -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(torch.randn(n, 3, 8, 8, generator=generator), torch.arange(n) % 2)


def make_convolutions() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(3, 20, 3), nn.BatchNorm2d(20), nn.ReLU(), nn.Conv2d(20, 24, 3),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(24 * 16, 2),
    )  # fmt: skip


def test_channels_last_changes_the_order_in_memory_alone() -> None:
    formats: list[bool] = []

    def watch(net: nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        is_last = [t.is_contiguous(memory_format=torch.channels_last) for t in
                   (batch.x, next(net.parameters()))]  # fmt: skip
        formats.append(all(is_last))
        return plain(net, batch, generator)

    results = []
    for last in (False, True):
        config = DeviceConfig(channels_last=last)
        recipe = replace(RECIPE, optimizer=SGD())  # whose updates do not magnify rounding
        results.append(train(make_convolutions(), make_images(), watch, recipe, config))
        assert formats == [last] * RECIPE.steps
        formats.clear()
        assert all(p.is_contiguous() for p in results[-1].parameters())
    for a, b in zip(results[0].parameters(), results[1].parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_layers_that_draw_themselves_depend_on_the_seed_of_the_run_alone() -> None:
    torch.manual_seed(11)
    runs = []
    for seed in (0, 0, 1):
        net = make_convolutions()
        torch.manual_seed(torch.randint(99, ()).item())  # whatever a program drew before
        before = torch.get_rng_state()
        # One batch is the whole set, so that the seed changes only what is dropped.
        trained = train(net, make_images(), plain, Recipe(3, 24, seed=seed))
        assert torch.equal(before, torch.get_rng_state())
        runs.append(trained)
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_the_settings_of_a_cpu_are_exact() -> None:
    assert DeviceConfig.for_device("cpu") == DeviceConfig("cpu")


def test_the_settings_of_a_gpu_are_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ilk.training.recipe.pick_device", lambda _device: "cuda:1")
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)
    monkeypatch.setattr("ilk.training.recipe.find_spec", lambda _name: object())
    expected = DeviceConfig("cuda:1", "bfloat16", torch_compile=True, channels_last=True)
    assert DeviceConfig.for_device() == expected
    monkeypatch.setattr("ilk.training.recipe.find_spec", lambda _name: None)
    assert not DeviceConfig.for_device().torch_compile
