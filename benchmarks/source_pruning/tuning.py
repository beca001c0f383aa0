"""Tuning of a small network to a target with few labels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.small_networks import SmallNetwork, fine_tune, to_images
from ilk.core.data import Data
from ilk.training.optimizers import AdamW
from ilk.training.trainer import Batch, Recipe, train

STEPS, LR = 60, 1e-3


def tune(network: SmallNetwork, train_data: Data, test: Data, seed: int) -> float:
    """Return the test accuracy after gentle tuning with a new head, which keeps what is learned."""
    tuned = SmallNetwork(train_data.k, network.head.in_features, network.first.out_channels, seed)
    for part in ("first", "second", "inner"):
        getattr(tuned, part).load_state_dict(getattr(network, part).state_dict())
    batch_size = min(64, len(train_data))
    recipe = Recipe(STEPS, batch_size, LR, 10, 0.01, seed=seed, optimizer=AdamW())
    rows = Batch(to_images(train_data.x), torch.from_numpy(np.array(train_data.y)))
    result = train(tuned, rows, _compute_loss, recipe)
    with torch.inference_mode():
        return float(np.mean(result(to_images(test.x)).argmax(1).numpy() == test.y))


def tune_from_scratch(network: SmallNetwork, train_data: Data, test: Data, seed: int) -> float:
    """Return the test accuracy of an untrained network, which learns more at a higher rate."""
    return fine_tune(network, train_data, test, seed)


def _compute_loss(network: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
    return functional.cross_entropy(network(batch.x), batch.y)
