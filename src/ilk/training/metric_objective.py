"""What losses of metric learning share: unit embeddings of a batch and their pairs, and proxies.

A network gives one embedding per row; the loss sees it at unit length, so that the inner product is
the cosine. Rows without a label are left out, and a batch without a pair has a loss of 0. Batches
should hold several rows of several classes: `ilk.training.samplers.EpisodicSampler`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.architectures.metric_head import MetricHead
from ilk.training.batch import Batch
from ilk.training.objective import Objective, TrainingStep
from ilk.training.optimizers import ParameterGroup
from ilk.training.sources import SampledSource, Source

EPSILON = 1e-12


class MetricObjective(Objective):
    """A loss of unit embeddings `[b, e]` and their classes `[b]`.

    Attributes:
        TUNED: The setting that decides how strict the loss is, such as a margin, and the values to
            choose from on held-out classes; None where there is none.
    """

    supports_weights = False
    TUNED: ClassVar[tuple[str, tuple[float, ...]] | None] = None

    def compute_loss(self, z: Tensor, y: Tensor, step: TrainingStep) -> Tensor:
        """Return the loss of unit embeddings `[b, e]` of classes `y [b]`, a scalar."""
        raise NotImplementedError

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        known = batch.y >= 0
        z = embed(network, batch.x)[known]
        return self.compute_loss(z, batch.y[known], step)

    @classmethod
    def make_network(cls, d: int, k: int) -> nn.Module:
        """Return a small network of the kind this objective trains."""
        return MetricHead(d, 4)


class ProxyObjective(MetricObjective):
    """A loss with a learned vector per class.

    Args:
        proxy_lr: Highest learning rate of the proxies, > 0.

    Attributes:
        proxies: `[k, e]`, created by `setup` from the labels and the width of the embedding.
    """

    def __init__(self, proxy_lr: float = 0.03) -> None:
        super().__init__()
        self.proxy_lr = proxy_lr
        self.proxies = nn.Parameter(torch.zeros(1, 1))

    def setup(self, network: nn.Module, data: Source) -> None:
        k, width = int(read_labels(data).max()) + 1, measure_width(network, data)
        generator = torch.Generator().manual_seed(0)
        self.proxies = nn.Parameter(torch.randn(k, width, generator=generator) / width**0.5)

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup(self, lr=self.proxy_lr, weight_decay=0.0)]

    def compute_cosines(self, z: Tensor) -> Tensor:
        """Return the cosine of each embedding with each proxy, `[b, k]`."""
        return z @ functional.normalize(self.proxies, dim=1).T


class WrappingObjective(MetricObjective):
    """A loss that adds to another one.

    Attributes:
        metric: The other loss, whose parameters are trained as well.
    """

    metric: MetricObjective

    def setup(self, network: nn.Module, data: Source) -> None:
        self.metric.setup(network, data)

    def parameter_groups(self) -> list[ParameterGroup]:
        return self.metric.parameter_groups()

    def before_step(self, network: nn.Module, step: TrainingStep) -> None:
        self.metric.before_step(network, step)

    def after_step(self, network: nn.Module, step: TrainingStep) -> None:
        self.metric.after_step(network, step)


def embed(network: nn.Module, x: Tensor) -> Tensor:
    """Return the embeddings of rows at unit length, `[n, e]`."""
    return functional.normalize(network(x), dim=1, eps=EPSILON)


def find_pairs(y: Tensor) -> tuple[Tensor, Tensor]:
    """Return which rows are another of the same class, and which of another class, `[b, b]`."""
    same = y[:, None] == y
    return same & ~torch.eye(len(y), dtype=torch.bool, device=y.device), ~same


def compute_distances(cosines: Tensor) -> Tensor:
    """Return Euclidean distances `[...]` of unit rows from their cosines `[...]`.

    The gradient at 0 is finite.
    """
    return (2 - 2 * cosines).clamp(min=1e-8).sqrt()


def mean_selected(values: Tensor, selected: Tensor) -> Tensor:
    """Return the mean of the selected values, a scalar; 0 if none is."""
    return (values * selected).sum() / selected.sum().clamp(min=1)


def log_sum_exp_with_one(values: Tensor, selected: Tensor) -> Tensor:
    """Return `log(1 + sum over selected of e^value)` of each row of `values [n, m]`, `[n]`."""
    masked = values.masked_fill(~selected, -torch.inf)
    return torch.logsumexp(functional.pad(masked, (0, 1)), 1)


def read_labels(data: Source) -> Tensor:
    """Return the labels of a source, `[n]` int64.

    Raises:
        TypeError: The source does not hold its labels.
    """
    rows: Any = data.rows if isinstance(data, SampledSource) else data
    y = getattr(rows, "y", None)
    if y is None:
        raise TypeError(f"{type(rows).__name__} does not say its labels, and the loss needs them")
    return y if isinstance(y, Tensor) else torch.from_numpy(np.asarray(y))


@torch.no_grad()
def measure_width(network: nn.Module, data: Source) -> int:
    """Return the width of the embedding that a network gives for rows of `data`."""
    device = str(next(network.parameters()).device)
    was_training = network.training
    width = int(network.eval()(data.take(torch.tensor([0]), device).x).shape[1])
    network.train(was_training)
    return width
