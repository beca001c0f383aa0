"""Heads on frozen features, trained by the trainer under any objective.

    net = Head.from_data(known, hidden=256, seed=self.seed)
    model = fit_head(net, known, objective, Recipe(...)).to_model()

An objective gets standardized features; `batch.indices` are the positions of the rows.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch

from ilk.architectures.head import Head
from ilk.core.data import Data
from ilk.training.batch import Batch
from ilk.training.losses import cross_entropy
from ilk.training.objective import LossFunction, Objective
from ilk.training.trainer import Recipe, train

__all__ = [
    "BATCH_SIZE",
    "Head",
    "count_steps",
    "cross_entropy",
    "fit_head",
    "make_batch",
]

BATCH_SIZE = 256

H = TypeVar("H", bound=Head)


def make_batch(head: Head, data: Data) -> Batch:
    """Return all rows of `data` as one batch, `x [n, d]` standardized for `head`."""
    x = head.standardize(torch.from_numpy(np.array(data.x, np.float32)))
    weight = data.sample_weight
    return Batch(
        x,
        torch.from_numpy(np.array(data.y)),
        weight=None if weight is None else torch.from_numpy(weight.astype(np.float32)),
    )


def fit_head(head: H, data: Data, objective: Objective | LossFunction, recipe: Recipe) -> H:
    """Train `head` in place on all rows of `data`, unlabelled ones too.

    Returns:
        The average of the head over the run; see `Recipe.ema_width`.

    Raises:
        DivergenceError, InputError: See `ilk.training.trainer.train`.
    """
    return train(head, make_batch(head, data), objective, recipe)


def count_steps(n: int, epochs: float, min_steps: int = 200) -> int:
    """Return the number of updates of `BATCH_SIZE` rows in `epochs` passes over `n` rows."""
    return max(min_steps, round(n * epochs / BATCH_SIZE))
