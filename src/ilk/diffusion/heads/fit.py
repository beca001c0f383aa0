"""Heads are trained by the one training loop.

The papers take plain SGD with steps in the learning rate; here it is the loop's optimiser (Muon
for matrices, AdamW for the rest) with a linear fall, and the weights' average over the run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from ilk.diffusion.heads.head import Head, Packed, flat
from ilk.errors import InputError, NoLabels
from ilk.progress import Progress, silent
from ilk.training.loop import Batch, Machine, Recipe, Watch, train

PLAIN = Recipe(steps=600, batch=128, lr=5e-3, warmup=20)
HERE = Machine()
ROWS = 256  # images at once where nothing is learned


@dataclass(frozen=True)
class Telling:
    """The objective: cross-entropy, and what the head itself adds."""

    head: Head

    def __call__(self, network: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
        logits = network(batch.x).float()
        return functional.cross_entropy(logits, batch.y) + self.head.penalty()


def fit_head(
    build: Callable[[], Head],
    maps: Sequence[Tensor],
    y: Tensor,
    recipe: Recipe = PLAIN,
    machine: Machine = HERE,
    progress: Progress = silent,
) -> Head:
    """A head trained on maps; `logits` reads it.

    Args:
        build: Makes the head, such as `lambda: LinearHead((48, 2, 2), 10)`; its weights are drawn
            from the recipe's seed.
        maps: What it reads, each `[n, c, h, w]`, as `ilk.diffusion.features.streams` gives them.
        y: Class indices `[n]`; -1 (unknown) is left out.
        recipe: Steps, batch, learning rate, seed.
        machine: Device and precision.
        progress: Told of every update.

    Raises:
        NoLabels, InputError: There is no label, or maps and labels differ in number.
        Diverged: Training left the finite numbers.
    """
    known = labelled(y, [len(part) for part in maps])
    x, shapes = flat(maps)[known], [(p.shape[1], p.shape[2], p.shape[3]) for p in maps]
    return fit(lambda: Packed(build(), shapes, x), x, y[known], recipe, machine, progress)


def fit(
    build: Callable[[], Head],
    x: Tensor,
    y: Tensor,
    recipe: Recipe = PLAIN,
    machine: Machine = HERE,
    progress: Progress = silent,
) -> Head:
    """A head trained on `x` `[n, ...]` as its `forward` takes it; arguments as `fit_head`."""
    known = labelled(y, [len(x)])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        head = build()
    data = Batch(x[known], y[known])
    made = train(head, data, Telling(head), recipe, machine, Watch(progress=progress))
    assert isinstance(made, Head)
    settle(made, data.x, machine.device)
    return made


def labelled(y: Tensor, lengths: Sequence[int]) -> Tensor:
    """Which rows have a label, `[n]` bool.

    Raises:
        InputError: There are more or fewer labels than rows.
        NoLabels: There is none.
    """
    if any(length != len(y) for length in lengths):
        raise InputError(f"{len(y)} labels for maps of {lengths} images; give one label each")
    known = y >= 0
    if not bool(known.any()):
        raise NoLabels("a head learns from labels and there are none; label a few images")
    return known


@torch.no_grad()
def settle(head: nn.Module, x: Tensor, device: str) -> None:
    """Give batch normalisations the statistics of averaged weights, which none of them has seen.

    Pavel Izmailov and others, 2018, Averaging Weights Leads to Wider Optima and Better
    Generalization, arXiv 1803.05407, section 3.2.
    """
    layers = [m for m in head.modules() if isinstance(m, _BatchNorm)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over batches
        layer.train()
    for part in torch.split(x, ROWS):
        head(part.to(device))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()


@torch.no_grad()
def logits(head: Head, x: Tensor | Sequence[Tensor], device: str = "cpu") -> Tensor:
    """Logits `[n, k]` float32 on the CPU: of maps for a head of `fit_head`, of images for `fit`."""
    rows = x if isinstance(x, Tensor) else flat(x)
    return torch.cat([head(part.to(device)).float().cpu() for part in torch.split(rows, ROWS)])
