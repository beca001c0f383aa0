"""Train heads with the common training loop.

Departure from the papers, which use SGD with a step schedule: the optimizer of the loop (Muon for
matrices, AdamW for the rest) with linear decay, and weight averaging over the run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from ilk.core.errors import InputError, NoLabels
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.heads.head import FlatHead, Head, flatten_maps
from ilk.training.trainer import Batch, CheckpointConfig, DeviceConfig, Recipe, train

DEFAULT_RECIPE = Recipe(steps=600, batch_size=128, lr=5e-3, warmup=20)
DEFAULT_MACHINE = DeviceConfig()
BATCH_SIZE = 256  # for inference


@dataclass(frozen=True)
class HeadLoss:
    """Cross-entropy plus the penalty of the head."""

    head: Head

    def __call__(self, network: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
        logits = network(batch.x).float()
        return functional.cross_entropy(logits, batch.y) + self.head.compute_penalty()


def fit_head(
    make_head: Callable[[], Head],
    maps: Sequence[Tensor],
    y: Tensor,
    recipe: Recipe = DEFAULT_RECIPE,
    machine: DeviceConfig = DEFAULT_MACHINE,
    progress: Progress = silent_progress,
) -> Head:
    """Train a head on maps; `predict_logits` applies it.

    Args:
        make_head: Creates the head, such as `lambda: LinearHead((48, 2, 2), 10)`; its weights are
            drawn from the seed of the recipe.
        maps: Its inputs, each `[n, c, h, w]`, as returned by
            `ilk.diffusion.features.extract.extract_feature_maps`.
        y: Class indices `[n]`; rows of -1 (unknown) are ignored.
        recipe: Steps, batch size, learning rate, seed.
        machine: Device and precision.
        progress: Reports updates.

    Raises:
        NoLabels: There is no label.
        InputError: Maps and labels differ in number.
        DivergenceError: Training diverged.
    """
    is_labelled = find_labelled(y, [len(part) for part in maps])
    x, shapes = (
        flatten_maps(maps)[is_labelled],
        [(p.shape[1], p.shape[2], p.shape[3]) for p in maps],
    )
    return fit(
        lambda: FlatHead(make_head(), shapes, x), x, y[is_labelled], recipe, machine, progress
    )


def fit(
    make_head: Callable[[], Head],
    x: Tensor,
    y: Tensor,
    recipe: Recipe = DEFAULT_RECIPE,
    machine: DeviceConfig = DEFAULT_MACHINE,
    progress: Progress = silent_progress,
) -> Head:
    """Train a head on `x` `[n, ...]`, the input of its `forward`; arguments as in `fit_head`."""
    is_labelled = find_labelled(y, [len(x)])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        head = make_head()
    data = Batch(x[is_labelled], y[is_labelled])
    trained = train(
        head, data, HeadLoss(head), recipe, machine, CheckpointConfig(progress=progress)
    )
    assert isinstance(trained, Head)
    update_bn(trained, data.x, machine.device)
    return trained


def find_labelled(y: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return which rows of `y` `[n]` have a label, `[n]` bool.

    Raises:
        InputError: The number of labels is not that of the rows.
        NoLabels: There is none.
    """
    if any(length != len(y) for length in lengths):
        raise InputError(f"{len(y)} labels for maps of {lengths} images; give one label each")
    is_labelled = y >= 0
    if not bool(is_labelled.any()):
        raise NoLabels("a head needs labels and there are none; label a few images")
    return is_labelled


@torch.no_grad()
def update_bn(head: nn.Module, x: Tensor, device: str) -> None:
    """Recompute the statistics of batch normalisation for averaged weights, on inputs `[n, ...]`.

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
    for part in torch.split(x, BATCH_SIZE):
        head(part.to(device))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()


@torch.no_grad()
def predict_logits(head: Head, x: Tensor | Sequence[Tensor], device: str = "cpu") -> Tensor:
    """Return logits `[n, k]` float32 on the CPU: of maps (`fit_head`) or of images `[n, ...]`
    (`fit`).
    """
    rows = x if isinstance(x, Tensor) else flatten_maps(x)
    return torch.cat(
        [head(part.to(device)).float().cpu() for part in torch.split(rows, BATCH_SIZE)]
    )
