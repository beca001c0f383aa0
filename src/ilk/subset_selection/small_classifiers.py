"""Classifiers that images train: a small network from scratch, and a head on an encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ilk.architectures.instance_norm_net import InstanceNormNet
from ilk.core.data import Labels
from ilk.maths.row_discriminant import fit_rows_discriminant
from ilk.subset_selection.foundations.problem import Problem, Run, make_seed
from ilk.training.batch import Batch
from ilk.training.objective import LossFunction, Objective, augment_objective
from ilk.training.objectives.cross_entropy import CrossEntropy
from ilk.training.optimizers import AdamW
from ilk.training.recipe import Recipe
from ilk.training.schedules import CosineDecay
from ilk.training.trainer import train

BATCH_SIZE = 100
CHUNK = 500  # images per forward pass


@dataclass(frozen=True)
class NetworkTraining:
    """How a small network is trained, on few images or on all.

    Attributes:
        updates: Updates, >= 1.
        lr: Highest learning rate, > 0.
    """

    updates: int = 200
    lr: float = 0.01

    def make_recipe(self, n: int, seed: int) -> Recipe:
        """Return the recipe for n images."""
        return Recipe(
            self.updates,
            min(BATCH_SIZE, n),
            self.lr,
            weight_decay=1e-3,
            ema_width=0.0,
            seed=seed,
            optimizer=AdamW(),
            schedule=CosineDecay(min(20, self.updates // 10)),
        )


def train_network(
    problem: Problem,
    x: Tensor,
    y: Tensor,
    training: NetworkTraining,
    run: Run,
    name: str,
    objective: Objective | LossFunction | None = None,
    seed: int = 0,
) -> InstanceNormNet:
    """Train a small network from scratch on transformed images.

    Args:
        problem: What is condensed; it gives the network and the transformations.
        x: Images, `[m, c, h, w]` uint8.
        y: Their classes, `[m]`.
        training: How.
        run: Where.
        name: Name of the training.
        objective: The loss; None is cross-entropy.
        seed: Number of the repetition.
    """
    used = make_seed(problem, 41 + seed)
    steps = (problem.scale.standardize_batch, problem.augmentation)
    loss = augment_objective(objective or CrossEntropy(), *steps)
    return train(
        problem.make_network(used),
        Batch(x, y),
        loss,
        training.make_recipe(len(y), used),
        run.device_config,
        replace(run.checkpoint(name), interval=100),
    )


@torch.no_grad()
def predict_classes(problem: Problem, network: nn.Module, x: Tensor) -> Labels:
    """Return the most probable class of images `x [n, c, h, w]` uint8, `[n]`."""
    device = next(network.parameters()).device
    parts = [
        network(problem.scale.standardize(part.to(device))).argmax(1).cpu()
        for part in torch.split(x, CHUNK)
    ]
    return torch.cat(parts).numpy()


def fit_head(
    x: NDArray[np.float32], y: Labels, n_classes: int
) -> Callable[[NDArray[np.float32]], Labels]:
    """Return the closed-form head of features `x [n, d]`: shared-covariance Gaussians.

    The function that is returned gives the most probable class of features `[m, d]`, `[m]`.
    """
    model = fit_rows_discriminant(x, y, n_classes)
    return lambda features: np.asarray(model.logits(features).argmax(1), np.int64)
