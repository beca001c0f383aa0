"""Train a network under a loss of metric learning, on batches of a few rows of several classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.training.batch import Batch
from ilk.training.metric_objective import MetricObjective
from ilk.training.optimizers import AdamW
from ilk.training.recipe import CheckpointConfig, Recipe
from ilk.training.samplers import EpisodicSampler
from ilk.training.sources import SampledSource
from ilk.training.trainer import train

N = TypeVar("N", bound=nn.Module)
BLOCK = 1024  # rows at a time


@dataclass(frozen=True)
class EmbeddingRecipe:
    """How an embedding is trained.

    Attributes:
        steps: Number of updates.
        lr: Highest learning rate.
        n_classes: Classes per batch, as far as there are as many.
        n_rows: Rows per class of a batch.
        weight_decay: Decoupled weight decay.
        seed: Seed of batches and draws.
    """

    steps: int = 300
    lr: float = 1e-3
    n_classes: int = 16
    n_rows: int = 4
    weight_decay: float = 1e-4
    seed: int = 0


def train_embedding(
    network: N,
    x: NDArray[Any],
    y: Labels,
    objective: MetricObjective,
    recipe: EmbeddingRecipe,
    *,
    checkpoint: Path | None = None,
    progress: Progress = silent_progress,
) -> N:
    """Train `network` in place and return its average, in evaluation mode.

    Args:
        network: From rows `[b, ...]` to embeddings `[b, e]`.
        x: Features or images, `[n, ...]`.
        y: Classes, `[n]`; rows of -1 are not used. They are numbered anew, without gaps.
        objective: The loss.
        recipe: Settings of the run.
        checkpoint: File of the run's state, resumed from if it exists; None saves nothing.
        progress: Reports each update.

    Raises:
        InputError: Fewer than two classes have two rows.
        DivergenceError: A gradient is not finite.
    """
    known = y >= 0
    names, counts = np.unique(y[known], return_counts=True)
    names = names[counts > 1]
    if len(names) < 2:
        raise InputError(
            f"{len(names)} classes have two images or more, and an embedding is learned from pairs "
            "of images of one class and of two; label more images"
        )
    rows = np.flatnonzero(np.isin(y, names))
    labels = torch.from_numpy(np.searchsorted(names, y[rows]).astype(np.int64))
    batch = Batch(torch.from_numpy(np.array(x[rows], np.float32)), labels)
    n_way = min(recipe.n_classes, len(names))
    per_class = max(recipe.n_rows, -(-recipe.n_classes * recipe.n_rows // n_way // 2))
    source = SampledSource(batch, EpisodicSampler(labels, n_way))
    settings = Recipe(
        recipe.steps,
        n_way * per_class,
        recipe.lr,
        min(20, recipe.steps // 4),
        recipe.weight_decay,
        seed=recipe.seed,
        optimizer=AdamW(),
    )
    torch.manual_seed(recipe.seed)
    checkpointing = CheckpointConfig(checkpoint, interval=100, progress=progress)
    return train(network, source, objective, settings, checkpointing=checkpointing)


def embed_rows(network: nn.Module, x: NDArray[Any]) -> NDArray[np.float32]:
    """Return the embeddings of rows `[n, ...]`, `[n, e]`."""
    with torch.inference_mode():
        parts = [
            network(torch.from_numpy(np.array(x[at : at + BLOCK], np.float32))).numpy()
            for at in range(0, len(x), BLOCK)
        ]
    return np.concatenate(parts)
