"""Scores of how odd rows are, each learnt from normal rows alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ilk.data import Data, Features
from ilk.maths.axes import principal
from ilk.methods.gaussian_anomaly import GaussianAnomaly
from ilk.training.loop import Batch, Recipe, train

Vector = NDArray[np.float64]
Scorer = Callable[[Features, Features], Vector]


def area(y: NDArray[np.int64], score: Vector) -> float:
    """Area under the ROC curve: how often an odd row scores above a normal one."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y, score))


def gaussian(x: Features, new: Features, components: str | None = None) -> Vector:
    """Mahalanobis distance by a Gaussian of all or some principal axes."""
    data = Data(x, np.zeros(len(x), np.int64), ("normal",))
    return GaussianAnomaly(components=components, folds=2).fit(data).score(new)


def diagonal(x: Features, new: Features) -> Vector:
    """Distance with each feature in its own deviation."""
    deviation = x.std(0, dtype=np.float64)
    scale = np.maximum(deviation, 1e-3 * deviation.max())  # a dead feature must not shout
    return np.asarray(np.linalg.norm((new - x.mean(0)) / scale, axis=1))


def distance(x: Features, new: Features) -> Vector:
    """Distance to the mean."""
    return np.asarray(np.linalg.norm(new - x.mean(0), axis=1), np.float64)


def svm(x: Features, new: Features) -> Vector:
    """One-class support vector machine with a radial kernel."""
    from sklearn.svm import OneClassSVM

    return np.asarray(-OneClassSVM(gamma="scale").fit(x).decision_function(new))


def rebuilt(x: Features, new: Features, seed: int) -> Vector:
    """Squared error of an autoencoder through 16 numbers."""
    centre, scale = x.mean(0), float(x.std()) or 1.0
    d = x.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Linear(d, 128), nn.ReLU(), nn.Linear(128, 16)]
        net = nn.Sequential(*layers, nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, d))

    def scaled(rows: Features) -> Tensor:
        return torch.from_numpy(np.asarray((rows - centre) / scale, np.float32))

    def loss(module: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
        return functional.mse_loss(module(batch.x), batch.x)

    whole = Batch(scaled(x), torch.zeros(len(x), dtype=torch.int64))
    recipe = Recipe(400, min(64, len(x)), 2e-3, 20, 0.01, seed=seed)
    trained = train(net, whole, loss, recipe)
    with torch.inference_mode():
        z = scaled(new)
        return np.asarray(((trained(z) - z) ** 2).mean(1).numpy(), np.float64)


def pseudo(x: Features, new: Features) -> Vector:
    """Mahalanobis distance by the pseudo-inverse of the plain covariance."""
    axes = principal(x.astype(np.float64))
    along = (new - axes.centre) @ axes.basis
    return np.asarray(np.sqrt(np.sum(along**2 / (axes.squares / len(x)), axis=1)))
