"""Anomaly scores learned from normal rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.data import Data, Features
from ilk.detectors.gaussian_anomaly import GaussianAnomaly
from ilk.maths.pca import fit_pca
from ilk.maths.roc_area import compute_roc_area
from ilk.training.trainer import Batch, Recipe, train

Vector = NDArray[np.float64]
Scorer = Callable[[Features, Features], Vector]


def roc_auc(y: NDArray[np.int64], score: Vector) -> float:
    """Return the area under the ROC curve of scores `[n]`; `y [n]` is 1 for an anomaly."""
    return compute_roc_area(score[y == 0], score[y == 1])


def score_gaussian(x: Features, new: Features, components: str | None = None) -> Vector:
    """Return the Mahalanobis distance under a Gaussian of all or some principal axes."""
    data = Data(x, np.zeros(len(x), np.int64), ("normal",))
    return GaussianAnomaly(components=components, folds=2).fit(data).score(new)


def score_diagonal(x: Features, new: Features) -> Vector:
    """Return the distance with each feature scaled by its standard deviation."""
    deviation = x.std(0, dtype=np.float64)
    scale = np.maximum(
        deviation, 1e-3 * deviation.max()
    )  # bounds the scale of features that are almost constant
    return np.asarray(np.linalg.norm((new - x.mean(0)) / scale, axis=1))


def score_distance(x: Features, new: Features) -> Vector:
    """Return the distance to the mean."""
    return np.asarray(np.linalg.norm(new - x.mean(0), axis=1), np.float64)


def score_svm(x: Features, new: Features) -> Vector:
    """Return the score of a one-class support vector machine with a radial kernel."""
    from sklearn.svm import OneClassSVM

    return np.asarray(-OneClassSVM(gamma="scale").fit(x).decision_function(new))


def score_autoencoder(x: Features, new: Features, seed: int) -> Vector:
    """Return the squared error of an autoencoder with 16 latent units."""
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

    all_rows = Batch(scaled(x), torch.zeros(len(x), dtype=torch.int64))
    recipe = Recipe(400, min(64, len(x)), 2e-3, 20, 0.01, seed=seed)
    trained = train(net, all_rows, loss, recipe)
    with torch.inference_mode():
        z = scaled(new)
        return np.asarray(((trained(z) - z) ** 2).mean(1).numpy(), np.float64)


def score_pseudo_inverse(x: Features, new: Features) -> Vector:
    """Return the Mahalanobis distance by the pseudo-inverse of the plain covariance."""
    axes = fit_pca(x.astype(np.float64))
    projected = (new - axes.centre) @ axes.basis
    return np.asarray(np.sqrt(np.sum(projected**2 / (axes.eigenvalues / len(x)), axis=1)))
