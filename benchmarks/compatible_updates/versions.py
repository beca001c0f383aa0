"""Versions of an embedding, each trained on more classes than the one before, by every rival."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.data import Data, Features
from ilk.training.batch import Batch
from ilk.training.losses import weighted_mean
from ilk.training.objective import Objective, TrainingStep
from ilk.training.objectives.d_simplex import DSimplex, contrast_with_old
from ilk.training.recipe import Recipe
from ilk.training.trainer import train

WIDTH, SCALE, BATCH_SIZE, LR = 128, 4.0, 64, 4e-3
HIDDEN, BLOCK = 128, 2000


@dataclass(frozen=True)
class Rival:
    """How the versions are trained.

    Attributes:
        head: "learned" classifier weights, or the fixed "simplex".
        start: Weights of a new version: "fresh", or those of the "previous" version.
        class_weight: Weight of the classes against the term of old embeddings; 1 has no such term.
        uses_old_head: Whether new embeddings are also classified by the previous version's weights.
    """

    head: str = "learned"
    start: str = "fresh"
    class_weight: float = 1.0
    uses_old_head: bool = False


class LearnedHead(Objective):
    """Normalized softmax with trained weights, and with those of an old version, which are fixed.

    Args:
        weights: First values of the classes' weights, `[k, e]`.
        old: Weights of the old version's classes, the first ones, `[k', e]`; None has none.
        before: The old version, for the contrastive term; None has no such term.
        class_weight: Weight of the classes against that term.
    """

    def __init__(
        self, weights: Tensor, old: Tensor | None, before: nn.Module | None, class_weight: float
    ) -> None:
        super().__init__()
        self.before = None if before is None else copy.deepcopy(before).requires_grad_(False)
        self.class_weight = class_weight
        self.weights = nn.Parameter(weights)
        self.has_old = old is not None
        if old is not None:
            self.register_buffer("old", old)

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        f = functional.normalize(network(batch.x))
        losses = functional.cross_entropy(
            SCALE * f @ functional.normalize(self.weights).T, batch.y, reduction="none"
        )
        if self.has_old:
            old = cast(Tensor, self.old)
            known = batch.y < len(old)
            logits = SCALE * f[known] @ functional.normalize(old).T
            extra = torch.zeros_like(losses)
            extra[known] = functional.cross_entropy(logits, batch.y[known], reduction="none")
            losses = losses + extra
        if self.before is not None:
            with torch.no_grad():
                g = functional.normalize(self.before(batch.x))
            near = contrast_with_old(f, g, batch.y)
            losses = self.class_weight * losses + (1 - self.class_weight) * near
        return weighted_mean(losses, batch.weight)


class ImageEmbedding(nn.Module):
    """Two strided convolutions and a linear layer for 28 x 28 grey images `[n, 784]`."""

    def __init__(self, _width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)
        self.last = nn.Linear(784, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        z = functional.relu(self.first(x.reshape(-1, 1, 28, 28)))
        return self.last(functional.relu(self.second(z)).flatten(1))  # type: ignore[no-any-return]


class FeatureEmbedding(nn.Module):
    """Two layers on frozen features `[n, d]`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Version:
    """A trained network and the weights of its classes, if they were learned."""

    network: nn.Module
    weights: Tensor | None = None

    @torch.inference_mode()
    def embed(self, x: Features) -> Features:
        """Return embeddings `[n, e]`."""
        parts = torch.split(torch.from_numpy(np.array(x, np.float32)), BLOCK)
        return np.asarray(torch.cat([self.network(part) for part in parts]).numpy(), np.float32)


def train_versions(
    rival: Rival,
    steps_data: Sequence[Data],
    make_network: type[nn.Module],
    steps: int,
    seed: int,
    first: Version | None = None,
) -> list[Version]:
    """Return one version per element of `steps_data`, whose classes grow; `first` is reused."""
    versions = [] if first is None else [first]
    for i in range(len(versions), len(steps_data)):
        old = versions[-1] if versions else None
        versions.append(
            train_version(rival, steps_data[i], make_network, steps, seed + 1000 * i, old)
        )
    return versions


def train_version(
    rival: Rival,
    data: Data,
    make_network: type[nn.Module],
    steps: int,
    seed: int,
    old: Version | None,
) -> Version:
    """Return a version trained on `data`, whose first classes are those of `old`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network, weights = make_network(data.x.shape[1]), torch.randn(data.k, WIDTH)
    if old is not None and rival.start == "previous":
        network.load_state_dict(old.network.state_dict())
        if old.weights is not None:
            weights[: len(old.weights)] = old.weights
    before = old.network if old is not None and rival.class_weight < 1 else None
    objective: Objective
    if rival.head == "simplex":
        objective = DSimplex(SCALE, old_network=before, class_weight=rival.class_weight)
    else:
        old_weights = old.weights if old is not None and rival.uses_old_head else None
        objective = LearnedHead(weights, old_weights, before, rival.class_weight)
    rows = Batch(torch.from_numpy(np.array(data.x)), torch.from_numpy(np.array(data.y)))
    recipe = Recipe(steps, BATCH_SIZE, LR, 10, 0.01, seed=seed, ema_width=0.0)
    trained = train(network, rows, objective, recipe)
    learned = objective.weights.detach() if isinstance(objective, LearnedHead) else None
    return Version(trained, learned)
