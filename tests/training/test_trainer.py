"""The training loop: what it draws, what it keeps, and that a cut changes nothing."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from helpers.small_training import RECIPE, data, make_step, network, plain
from ilk.core.errors import ArtifactError, InputError, OutputError
from ilk.training import checkpoint
from ilk.training import distributed as ranks
from ilk.training import ema as average
from ilk.training.muon import Muon, group_parameters, orthogonalize
from ilk.training.rng import draw_batch_rows, make_generator
from ilk.training.trainer import (
    Batch,
    CheckpointConfig,
    DeviceConfig,
    Recipe,
    augment_objective,
    train,
)


def objective(driven: nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(batch.x.shape, generator=generator)
    return nn.functional.cross_entropy(driven(batch.x + 0.1 * noise), batch.y)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_a_pass_shows_every_row_once_and_the_next_another_order():
    rows = torch.cat([draw_batch_rows(step, 7, 20, seed=1) for step in range(20)])
    passes = rows.view(7, 20)
    assert all(sorted(p.tolist()) == list(range(20)) for p in passes)
    assert len({tuple(p.tolist()) for p in passes}) == 7
    assert not torch.equal(rows[:20], draw_batch_rows(0, 20, 20, seed=2))


def test_each_step_draws_its_own_numbers():
    first = [
        torch.rand(3, generator=make_generator(seed, step, "cpu"))
        for seed, step in [(0, 0), (0, 1), (1, 0)]
    ]
    assert len({tuple(f.tolist()) for f in first}) == 3
    assert torch.equal(first[1], torch.rand(3, generator=make_generator(0, 1, "cpu")))


@pytest.mark.parametrize("cut", [1, 5, 11])
def test_a_cut_run_taken_up_again_ends_where_it_would_have_ended(tmp_path: Path, cut: int):
    whole = train(network(), data(), objective, RECIPE)

    def stop(step: int, _loss: float, _average: nn.Module) -> None:
        if step == cut:
            raise KeyboardInterrupt

    state = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(
            network(),
            data(),
            objective,
            RECIPE,
            checkpointing=CheckpointConfig(state, interval=1, on_checkpoint=stop),
        )
    torch.manual_seed(99)  # nothing may hang on torch's own generator
    other = nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 24), nn.Linear(24, 2))
    resumed = train(
        other, data(), objective, RECIPE, checkpointing=CheckpointConfig(state, interval=1)
    )
    assert same(whole, resumed)
    again = train(network(), data(), objective, RECIPE, checkpointing=CheckpointConfig(state))
    assert same(whole, again)  # a finished run is handed back as it is


def test_training_learns():
    losses: list[float] = []
    watch = CheckpointConfig(interval=50, on_checkpoint=lambda _s, loss, _a: losses.append(loss))
    fitted = train(network(), data(), objective, replace(RECIPE, steps=200), checkpointing=watch)
    assert losses[-1] < 0.3 * losses[0]
    assert not fitted.training


def test_another_recipe_is_refused_but_a_lower_rate_is_not(tmp_path: Path):
    watch = CheckpointConfig(tmp_path / "s")
    train(network(), data(), objective, RECIPE, checkpointing=watch)
    with pytest.raises(InputError, match="steps was 12, now 13"):
        train(network(), data(), objective, replace(RECIPE, steps=13), checkpointing=watch)
    train(network(), data(), objective, replace(RECIPE, lr=1e-3), checkpointing=watch)
    with pytest.raises(InputError, match="holds another network"):
        train(nn.Linear(6, 2), data(), objective, RECIPE, checkpointing=watch)


def test_a_run_that_leaves_the_finite_numbers_stops_and_keeps_its_last_state(tmp_path: Path):
    seen = []

    def breaks(driven: nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        seen.append(1)
        return objective(driven, batch, generator) * (math.nan if len(seen) == 8 else 1)

    watch = CheckpointConfig(tmp_path / "s", interval=5)
    with pytest.raises(checkpoint.DivergenceError, match=r"update 8.*after update 5.*0\.0033"):
        train(network(), data(), breaks, RECIPE, checkpointing=watch)
    tensors, told = checkpoint.load(tmp_path / "s")
    assert told["step"] == "5"
    assert all(bool(torch.isfinite(t).all()) for t in tensors.values())
    seen[:] = [1] * 10
    train(network(), data(), breaks, replace(RECIPE, lr=0.0033), checkpointing=watch)  # goes on


def test_what_cannot_be_trained_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no image"):
        train(network(), data(0), objective, RECIPE)
    for wrong in (
        {"steps": 0},
        {"batch_size": 0},
        {"lr": 0.0},
        {"lr": math.inf},
        {"ema_width": 0.3},
    ):
        with pytest.raises(InputError):
            replace(RECIPE, **wrong)
    with pytest.raises(InputError, match="float16"):
        DeviceConfig(precision="float16")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        train(
            network(),
            data(),
            objective,
            RECIPE,
            checkpointing=CheckpointConfig(tmp_path / "file" / "state"),
        )
    (tmp_path / "cut").write_bytes(b"\x00" * 20)
    with pytest.raises(ArtifactError, match="cannot be read"):
        train(
            network(), data(), objective, RECIPE, checkpointing=CheckpointConfig(tmp_path / "cut")
        )


def test_tweaks_change_a_batch_in_turn():
    def double(batch: Batch, _generator: torch.Generator) -> Batch:
        return Batch(batch.x * 2, batch.y)

    def add(batch: Batch, _generator: torch.Generator) -> Batch:
        return Batch(batch.x + 1, batch.y)

    def total(_driven: nn.Module, batch: Batch, _generator: torch.Generator) -> torch.Tensor:
        return batch.x.sum()

    batch = Batch(torch.ones(1, 1), torch.zeros(1))
    assert augment_objective(total, double, add)(network(), batch, make_step()) == 3


def test_the_rate_rises_then_falls_to_nothing():
    recipe = Recipe(steps=100, lr=1.0, warmup=10)
    rates = [recipe.compute_lr(s) for s in range(100)]
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert np.argmax(rates) == 10
    assert all(np.diff(rates[:11]) > 0)
    assert all(np.diff(rates[10:]) < 0)
    assert 0 < rates[-1] < 0.02


@pytest.mark.parametrize("width", [0.05, 0.1, 0.2])
def test_the_average_has_the_width_that_was_asked_for(width: float):
    n, weights = 2000, np.zeros(2000)
    for step in range(n):
        weights *= average.compute_decay(step, width)
        weights[step] = 1 - average.compute_decay(step, width)
    at = (np.arange(n) + 1) / n
    mean = (weights * at).sum()
    assert weights.sum() == pytest.approx(1)
    assert math.sqrt((weights * (at - mean) ** 2).sum()) == pytest.approx(width, rel=5e-3)


def test_the_average_moves_by_its_share():
    a, b = nn.Linear(1, 1), nn.Linear(1, 1)
    before, target = a.weight.item(), b.weight.item()
    average.update_ema(a, b, 0.75)
    assert a.weight.item() == pytest.approx(0.75 * before + 0.25 * target)


def test_the_average_has_the_latest_statistics_of_batch_normalization():
    x, y = 3 + torch.randn(64, 4, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 2
    net = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))
    ema = train(net, Batch(x, y), plain, Recipe(60, 64))
    assert torch.equal(ema[0].running_mean, net[0].running_mean)
    assert torch.allclose(ema[0].running_mean, x.mean(0), atol=0.05)


def test_orthogonal_keeps_directions_and_evens_out_sizes():
    generator = torch.Generator().manual_seed(0)
    for m, n in ((20, 50), (50, 20)):
        matrix = torch.randn(m, n, generator=generator)
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        core = u.T @ orthogonalize(matrix) @ v.T
        assert ((core.diagonal() > 0.6) & (core.diagonal() < 1.3)).all()
        assert (core - core.diagonal().diag()).abs().max() < 1e-4


def test_muon_takes_matrices_and_leaves_tables_and_narrow_ones_to_adam():
    net = nn.ModuleList(
        [nn.Embedding(40, 40), nn.Linear(40, 40), nn.Conv2d(20, 30, 3), nn.Conv2d(40, 4, 3)]
    )
    matrices, rest = (group["params"] for group in group_parameters(net))
    assert [p.shape for p in matrices] == [(40, 40), (30, 20, 3, 3)]
    assert len(rest) == 5


def test_the_rest_is_trained_as_torch_s_adamw_does():
    ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    a = Muon(group_parameters(ours), 1e-2, weight_decay=0.1)
    b = torch.optim.AdamW(theirs.parameters(), 1e-2, (0.9, 0.99), weight_decay=0.1)
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(1))
    for _ in range(5):
        for net, optimizer in ((ours, a), (theirs, b)):
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
    assert torch.allclose(ours.weight, theirs.weight, atol=1e-6)
    assert torch.allclose(ours.bias, theirs.bias, atol=1e-6)


TWO = """
import sys; sys.path.insert(0, sys.argv[1])
import torch; torch.set_num_threads(1)
from pathlib import Path
from helpers.small_training import RECIPE, data, make_step, network, plain
from ilk.training import distributed
from ilk.training.trainer import CheckpointConfig, train
with distributed.join_process_group("cpu"):
    train(network(), data(), plain, RECIPE, checkpointing=CheckpointConfig(Path(sys.argv[2])))
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch built for one process")
def test_two_processes_train_as_one_does(tmp_path: Path):
    (tmp_path / "two.py").write_text(TWO)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    made = subprocess.run(
        [*run, tmp_path / "two.py", Path(__file__).parents[1], tmp_path / "s"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert made.returncode == 0, made.stderr
    tensors, _ = checkpoint.load(tmp_path / "s")
    one = train(network(), data(), plain, RECIPE)
    for name, value in one.state_dict().items():
        assert torch.allclose(tensors[f"average/{name}"], value, atol=1e-5)


def test_a_batch_that_does_not_divide_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ranks, "is_distributed", lambda: True)
    monkeypatch.setattr(ranks.dist, "get_world_size", lambda: 3)
    monkeypatch.setattr(ranks.dist, "get_rank", lambda: 1)
    assert torch.arange(9)[ranks.get_rank_rows(9)].tolist() == [1, 4, 7]
    with pytest.raises(InputError, match="8 does not divide by 3"):
        ranks.get_rank_rows(8)
