"""A run of the training loop that ends at once."""

import torch
from torch import nn

from ilk.training.objective import TrainingStep
from ilk.training.trainer import Batch, Recipe

RECIPE = Recipe(steps=12, batch_size=8, lr=1e-2, warmup=2)


def data(n: int = 20) -> Batch:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(n, 6, generator=generator)
    return Batch(x, (x[:, 0] > 0).long())


def network() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 24), nn.Linear(24, 2))


def plain(driven: nn.Module, batch: Batch, _generator: torch.Generator) -> torch.Tensor:
    return nn.functional.cross_entropy(driven(batch.x), batch.y)


def make_step(index: int = 0, total: int = 100, generator: torch.Generator | None = None):
    """A step of a run, for calling an objective by itself."""
    return TrainingStep(index, total, generator or torch.Generator().manual_seed(0))
