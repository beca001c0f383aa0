"""T-TAME's loss: small, smooth maps under which a frozen classifier still gives its own answer.

Mariano V. Ntrougkas, Nikolaos Gkalelis, Vasileios Mezaris, 2024, T-TAME: Trainable Attention
Mechanism for Explaining Convolutional Networks and Vision Transformers, arXiv 2403.04523.

    L = 1.5 CE(f(x * up(a_y)), y) + 2 mean((a + 5e-4)^0.3) + 0.01 S,         y = argmax f(x)
    S = (sum of squared differences of neighbours + 0.3 sum of squares at the borders) / (2 B)

`scope` says which maps count in the mean and in S: "random", as in the authors' code, the maps of
the classes of all B images of the batch for every image, so that maps of absent classes are pushed
to 0 too; "diagonal", each image's own.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.architectures.attention_maps import AttentionMaps, ExplainedNetwork
from ilk.core.errors import InputError
from ilk.training.batch import Batch
from ilk.training.losses import mean_cross_entropy, weighted_mean
from ilk.training.objective import Objective, TrainingStep, unwrap

Scope = Literal["random", "diagonal"]
SCOPES = ("random", "diagonal")
EPSILON, POWER = 5e-4, 0.3  # the power has no gradient at 0
BORDER = 0.3


class MaskedConfidence(Objective):
    """`confidence CE + area mean((a + eps)^0.3) + smoothness S`; trains an `ExplainedNetwork`.

    Args:
        confidence: Weight of the cross-entropy of the masked image.
        area: Weight of the area of the maps; at 0 they become 1 everywhere.
        smoothness: Weight of the differences between neighbours.
        scope: Which maps count in area and smoothness; see the file.
        uses_labels: Explain the labels of the batch instead of the classifier's own answers.
    """

    def __init__(
        self,
        confidence: float = 1.5,
        area: float = 2.0,
        smoothness: float = 0.01,
        scope: Scope = "random",
        uses_labels: bool = False,
    ) -> None:
        super().__init__()
        if scope not in SCOPES:
            raise InputError(f"scope is {scope!r}; it must be one of {' and '.join(SCOPES)}")
        self.confidence, self.area, self.smoothness = confidence, area, smoothness
        self.scope, self.uses_labels = scope, uses_labels

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        logits, maps = network(batch.x)
        y = batch.y if self.uses_labels else logits.argmax(1)
        own = maps[torch.arange(len(y), device=y.device), y]
        masked = unwrap(network, ExplainedNetwork).classify_masked(batch.x, own)
        counted, counts = own[:, None], torch.ones(1, device=y.device)
        if self.scope == "random":  # each class as often as it occurs, but computed once
            classes, counts = y.unique(return_counts=True)
            counted = maps[:, classes]
        return (
            self.confidence * mean_cross_entropy(masked, y, batch.weight)
            + self.area * measure_area(counted, counts, batch.weight)
            + self.smoothness * measure_roughness(counted, counts, batch.weight)
        )

    @classmethod
    def make_network(cls, d: int, k: int) -> nn.Module:
        """Return maps on a small frozen network that reads `d` features as an image of one row."""
        return _RowNetwork(_RowClassifier(d, k), AttentionMaps([4], k))


def measure_area(maps: Tensor, counts: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean of `(a + eps)^0.3` over maps `[b, m, h, w]`.

    Args:
        maps: Maps of `b` images.
        counts: How often each of the `m` maps counts.
        weight: Weight of each image, `[b]`; None counts each once.
    """
    means = ((maps + EPSILON) ** POWER).mean((2, 3))
    return weighted_mean(means @ (counts / counts.sum()).to(means.dtype), weight)


def measure_roughness(maps: Tensor, counts: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return S of maps `[b, m, h, w]`: sums over maps and cells, halved; see `measure_area`."""
    inner = [(maps.diff(dim=axis) ** 2).sum((2, 3)) for axis in (2, 3)]
    edges = (maps[:, :, 0], maps[:, :, -1], maps[..., 0], maps[..., -1])
    border = torch.stack([(edge**2).sum(2) for edge in edges]).sum(0)
    sums = (inner[0] + inner[1] + BORDER * border) / 2
    return weighted_mean(sums @ counts.to(sums.dtype), weight)


class _RowClassifier(nn.Module):
    """A convolution over images of one row, `[b, 1, 1, d]`, and a linear layer."""

    def __init__(self, d: int, k: int) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, (1, 3), padding=(0, 1)), nn.Linear(4 * d, k)

    def forward_taps(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = functional.relu(self.conv(x))
        return self.head(maps.flatten(1)), [maps]

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_taps(x)[0]


class _RowNetwork(ExplainedNetwork):
    """The same for features `[b, d]`."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(x[:, None, None])

    def classify_masked(self, x: Tensor, maps: Tensor) -> Tensor:
        return super().classify_masked(x[:, None, None], maps)
