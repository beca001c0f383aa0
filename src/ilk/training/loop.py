"""The one training loop: an objective goes in, an averaged network comes out.

What a step draws depends on the seed, the step and the rank alone, so a run that was cut off and
taken up again ends where it would have ended, bit for bit on one machine's CPU. Several GPUs, or
several machines, run it through `torchrun`: each process takes its share of every batch.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from ilk.errors import InputError
from ilk.progress import Progress, silent
from ilk.training import average as averages
from ilk.training import checkpoint, ranks
from ilk.training.chance import draws, order
from ilk.training.muon import Muon, split


@dataclass(frozen=True, eq=False)
class Batch:
    """Images (or features) and what is known of them.

    Attributes:
        x: `[n, c, h, w]`, or `[n, d]`.
        y: `[n]` int64, -1 where unknown.
        at: Where each row stands in what is trained on, `[n]` int64, for objectives that remember
            rows or know more of them; none for the whole itself.
    """

    x: Tensor
    y: Tensor
    at: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, rows: Tensor, device: str) -> Batch:
        """These rows, on `device`."""
        x, y = self.x[rows.to(self.x.device)], self.y[rows.to(self.y.device)]
        at = rows if self.at is None else self.at[rows.to(self.at.device)]
        x, y, at = (part.to(device, non_blocking=True) for part in (x, y, at))
        return Batch(x, y, at)


Objective = Callable[[nn.Module, Batch, torch.Generator], Tensor]
"""The loss of a batch, a scalar; calls the module it is given, and draws from that generator."""
Tweak = Callable[[Batch, torch.Generator], Batch]


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        steps: Updates, >= 1.
        batch: Images an update, over all processes.
        lr: Highest learning rate of Muon.
        warmup: Updates over which it rises from 0; then it falls to 0 in a straight line.
        decay: Weight decay, decoupled.
        clip: Largest norm of a gradient.
        average: Width of the average over the run's length, in (0, 0.28); 0 takes the last state.
        seed: Draws order, noise and tweaks.
    """

    steps: int
    batch: int = 128
    lr: float = 2e-3
    warmup: int = 100
    decay: float = 0.01
    clip: float = 1.0
    average: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.warmup < 0:
            raise InputError(
                f"{self.steps} steps of {self.batch} images, {self.warmup} of them to warm up, "
                "is no training; give at least one of each, and a warm-up of 0 or more"
            )
        if not (0 < self.lr < math.inf and self.clip > 0 and 0 <= self.decay < math.inf):
            raise InputError(f"lr {self.lr}, clip {self.clip} and decay {self.decay} must be > 0")
        if not 0 <= self.average < 0.28:
            raise InputError(f"average is {self.average}; it must be at least 0 and below 0.28")

    def rate(self, step: int) -> float:
        """The learning rate of update `step`, counted from 0."""
        left = 1 - max(step - self.warmup, 0) / max(self.steps - self.warmup, 1)
        return self.lr * min(1.0, (step + 1) / (self.warmup + 1)) * left


@dataclass(frozen=True)
class Machine:
    """Where to train.

    Attributes:
        device: `cpu`, `cuda`, `cuda:1` or `mps`.
        precision: `float32`, or `bfloat16` for the network's own arithmetic (weights, losses and
            updates stay float32).
        compiled: Translate the network with `torch.compile` first: a minute, then faster.
    """

    device: str = "cpu"
    precision: str = "float32"
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bfloat16"):
            raise InputError(f"no precision is called {self.precision!r}: float32 or bfloat16")


@dataclass(frozen=True)
class Watch:
    """What is kept and told on the way.

    Attributes:
        state: File that a run is kept in, and taken up from when it is there; None keeps nothing.
        every: Updates between keeping, and between calls of `look`.
        look: Called with the number of updates made, their mean loss since the last call, and the
            averaged network.
        progress: Told of every update.
    """

    state: Path | None = None
    every: int = 1000
    look: Callable[[int, float, nn.Module], None] | None = None
    progress: Progress = silent


def tweaked(objective: Objective, *tweaks: Tweak) -> Objective:
    """`objective` on batches that `tweaks` changed, one after the other."""

    def changed(network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        for tweak in tweaks:
            batch = tweak(batch, generator)
        return objective(network, batch, generator)

    return changed


def train(
    network: nn.Module,
    data: Batch,
    objective: Objective,
    recipe: Recipe,
    machine: Machine = Machine(),
    watch: Watch = Watch(),
) -> nn.Module:
    """Train `network` in place; hand back its average over the run, in evaluation mode.

    Raises:
        InputError: There is nothing to train on, or the state at hand is of another run.
        Diverged: A gradient is not finite; the last good state is kept.
        OutputError: The state cannot be written.
    """
    if not len(data):
        raise InputError("there is no image to train on")
    share = ranks.share(recipe.batch)
    network.to(machine.device).train()
    average = copy.deepcopy(network).requires_grad_(False).eval()
    weights = [p for p in network.parameters() if p.requires_grad]
    optimiser = Muon(split(network), recipe.lr, recipe.decay)
    state = checkpoint.State(network, average, optimiser, asdict(recipe))
    done = state.take_up(watch.state)
    driven = ranks.spread(network, machine.device)
    if machine.compiled:
        driven = cast(nn.Module, torch.compile(driven))
    with watch.progress("training", recipe.steps - done) as advance:
        losses: list[Tensor] = []
        for step in range(done, recipe.steps):
            batch = data.rows(
                order(step, recipe.batch, len(data), recipe.seed)[share], machine.device
            )
            for group in optimiser.param_groups:
                group["lr"] = recipe.rate(step)
            optimiser.zero_grad(set_to_none=True)
            with torch.autocast(
                machine.device.partition(":")[0],
                torch.bfloat16,
                enabled=machine.precision == "bfloat16",
            ):
                loss = objective(driven, batch, draws(recipe.seed, step, machine.device))
            loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(weights, recipe.clip)
            if not bool(torch.isfinite(norm)):
                raise state.diverged(step, float(loss.detach()), watch.state)
            optimiser.step()
            averages.blend(average, network, averages.kept(step, recipe.average))
            advance(1)
            losses.append(loss.detach())
            if (step + 1) % watch.every == 0 or step + 1 == recipe.steps:
                state.keep(watch.state, step + 1)
                if watch.look and ranks.first():
                    watch.look(step + 1, float(torch.stack(losses).mean()), average)
                losses.clear()
    return average
