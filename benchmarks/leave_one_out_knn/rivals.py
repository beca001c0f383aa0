"""Objectives that LOOK is compared with, on the same network."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.training.batch import Batch
from ilk.training.metric_objective import embed, measure_width, read_labels
from ilk.training.objective import Objective, TrainingStep, unwrap
from ilk.training.objectives.sup_con import SupCon
from ilk.training.sources import Source

MAX_SHIFT = 3  # pixels
NOISE = 0.1  # standard deviation of pixels


class LinearCrossEntropy(Objective):
    """Cross-entropy of a linear layer on the embedding before it is scaled to unit length."""

    supports_weights = False

    def setup(self, network: nn.Module, data: Source) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.head = nn.Linear(measure_width(network, data), int(read_labels(data).max()) + 1)

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        inner = cast(Any, unwrap(network))
        z = inner.linear(inner.forward_features(batch.x))
        return functional.cross_entropy(self.head(functional.relu(z)), batch.y)


class TwoViews(Objective):
    """Self-supervised: two views of an image are positives (SimCLR, arXiv 2002.05709).

    A view is shifted by up to `MAX_SHIFT` pixels and has noise; labels are not read.

    Args:
        shape: Channels, height and width of the images.
    """

    supports_weights = False

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape, self.loss = shape, SupCon(0.2)

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        x = batch.x.reshape(-1, *self.shape)
        views = torch.cat([self._view(x, step.generator) for _ in range(2)])
        row = torch.arange(len(x)).repeat(2)
        return self.loss.compute_loss(embed(network, views), row, step)

    def _view(self, x: Tensor, generator: torch.Generator) -> Tensor:
        padded = functional.pad(x, (MAX_SHIFT,) * 4, mode="replicate")
        height, width = self.shape[1:]
        places = torch.randint(2 * MAX_SHIFT + 1, (len(x), 2), generator=generator)
        rows = places[:, :1] + torch.arange(height)
        columns = places[:, 1:] + torch.arange(width)
        image = torch.arange(len(x))[:, None, None]
        shifted = padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None]]
        shifted = shifted.permute(0, 3, 1, 2)
        return shifted + NOISE * torch.randn(shifted.shape, generator=generator)
