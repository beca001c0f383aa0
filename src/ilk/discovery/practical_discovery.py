"""Discovery of new classes in a small latent space, tuned by hiding known classes.

Colin Troisemaine, Alexandre Reiffers-Masson, Stéphane Gosselin, Vincent Lemaire, Sandrine Vaton,
2023, A Practical Approach to Novel Class Discovery in Tabular Data, arXiv 2311.05440.

    encoder   z = V relu(U x + u) + v
    loss      w CE(class of z, labelled rows) + (1 - w) |decoder(z) - x|^2, all rows
    groups    k-means of z; means of known classes are fixed to those of their labelled rows

The width of z and w are those that do best where the classes are known: in each fold some known
classes lose their labels, the encoder is trained without them, and the rows that lost a label are
clustered into the given number of classes. If the number of new classes is not given, it is the one
with the best silhouette in z.

Departures: unlabelled rows may be of known classes too, so that in each fold the other classes lose
half their labels and accuracy is over all rows that lost theirs; new means are initialized by
squared distance; the optimizer is that of `ilk.training`. The spectral variant is left out: it
clusters the given rows and cannot predict another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import DiscoveryTags, labelled_features
from ilk.core.data import Data, Labels
from ilk.core.errors import InputError
from ilk.core.linear_models import MLP
from ilk.maths.clustering_accuracy import clustering_accuracy
from ilk.maths.folds import assign_folds
from ilk.maths.inverse_temperature import fit_inverse_temperature
from ilk.maths.kmeans import (
    KMeansResult,
    estimate_inverse_temperature,
    estimate_new_clusters,
    fit_kmeans,
    squared_distances,
)

LATENT_DIMS, WEIGHTS = (8, 32), (0.1, 0.5, 0.9)  # candidate hyperparameters
DEFAULT_TRIAL = (32, 0.5)  # where no class can be hidden
FOLDS, HIDDEN_SIZE = 3, 64
Matrix = NDArray[np.floating[Any]]
Hyperparameters = tuple[int, float]  # latent width, weight of the cross-entropy


@dataclass(frozen=True)
class PracticalDiscovery(DiscoveryTags):
    """k-means with known classes in a latent space.

    Attributes:
        n_new: Number of new classes, >= 0; None estimates it.
        latent_dim: Width of the latent space, >= 1; None chooses it.
        supervised_weight: Weight w of the cross-entropy in the loss, in [0, 1]; None chooses it.
        steps: Optimization steps of the encoder, >= 1.
        seed: Seed of weights, folds and initial centres.
    """

    n_new: int | None = None
    latent_dim: int | None = None
    supervised_weight: float | None = None
    steps: int = 150
    seed: int = 0

    def __post_init__(self) -> None:
        smallest = self.steps if self.latent_dim is None else min(self.steps, self.latent_dim)
        if (self.n_new or 0) < 0 or smallest < 1:
            raise ValueError(
                f"n_new is {self.n_new}, latent_dim {self.latent_dim} and steps {self.steps}; "
                "they must be at least 0, 1 and 1"
            )
        if self.supervised_weight is not None and not 0 <= self.supervised_weight <= 1:
            raise ValueError(
                f"supervised_weight is {self.supervised_weight}; it must lie in [0, 1]"
            )

    def fit(self, data: Data) -> MLP:
        known = labelled_features(data, self)
        data = data if (data.weight > 0).all() else data.take(data.weight > 0)
        present, y = np.flatnonzero(known.count_labels()), data.y.copy()
        y[y >= 0] = np.searchsorted(present, y[y >= 0])
        if (self.n_new or 0) > np.sum(y < 0):
            raise InputError(f"{self.n_new} new classes need as many unlabelled rows; reduce n_new")
        x = np.asarray(data.x, np.float32)
        centre = x.mean(0, dtype=np.float64)
        std = x.std(0, dtype=np.float64)
        scale = np.where(std > 1e-6 * max(std.max(), 1e-30), std, 1.0)
        x = ((x - centre) / scale).astype(np.float32)
        trial = self.choose_hyperparameters(x, y)
        hidden_weight, hidden_bias, latent_weight = self.fit_encoder(x, y, trial)
        z = np.maximum(x @ hidden_weight.T + hidden_bias, 0) @ latent_weight.T
        new = self.n_new
        if new is None:
            new = estimate_new_clusters(z, y, fix_known=True, seed=self.seed)
        groups = fit_kmeans(z, y, new, fix_known=True, seed=self.seed)
        cluster_weight, bias = _make_linear_rule(
            groups,
            self.calibrate(x, y, trial, data.group)
            or estimate_inverse_temperature(z, y, groups, fix_known=True),
        )
        columns = np.append(present, data.k + np.arange(new))
        weights = np.zeros((data.k + new, len(hidden_bias)), np.float32)
        biases = np.full(len(weights), -np.inf, np.float32)
        weights[columns], biases[columns] = cluster_weight @ latent_weight, bias
        return MLP(
            centre.astype(np.float32),
            scale.astype(np.float32),
            hidden_weight,
            hidden_bias,
            weights,
            biases,
        )

    def choose_hyperparameters(self, x: Matrix, y: Labels) -> Hyperparameters:
        """Return latent width and weight: the given ones, or the best on hidden classes.

        Args:
            x: Standardized rows, `[n, d]`.
            y: Their classes, `[n]`, -1 where unknown.
        """
        latent_dims = LATENT_DIMS if self.latent_dim is None else (self.latent_dim,)
        weights = WEIGHTS if self.supervised_weight is None else (self.supervised_weight,)
        trials = list(product(latent_dims, weights))
        folds = list(_hide_classes(y, self.seed)) if (y < 0).any() and len(trials) > 1 else []
        if not folds:
            weight = self.supervised_weight
            return self.latent_dim or DEFAULT_TRIAL[0], DEFAULT_TRIAL[
                1
            ] if weight is None else weight
        scores = [
            np.mean([self.score_hidden_classes(x, y, fold, trial) for fold in folds])
            for trial in trials
        ]
        return trials[int(np.argmax(scores))]

    def score_hidden_classes(
        self, x: Matrix, y: Labels, visible_y: Labels, trial: Hyperparameters
    ) -> float:
        """Return the clustering accuracy of hidden rows, given their number of classes.

        Args:
            x: Standardized rows, `[n, d]`.
            y: Their classes, `[n]`, -1 where unknown.
            visible_y: The same with some hidden, `[n]`.
            trial: Latent width and weight.
        """
        hidden_weight, hidden_bias, latent_weight = self.fit_encoder(x, visible_y, trial)
        is_labelled = y >= 0
        z = np.maximum(x[is_labelled] @ hidden_weight.T + hidden_bias, 0) @ latent_weight.T
        y, visible_y = y[is_labelled], visible_y[is_labelled]
        is_hidden, n_new = visible_y < 0, len(np.unique(y)) - int(visible_y.max()) - 1
        n_new = min(n_new, int(is_hidden.sum()))
        groups = fit_kmeans(z, visible_y, n_new, fix_known=True, seed=self.seed)
        return clustering_accuracy(y[is_hidden], groups.assignment[is_hidden], 0).overall

    def fit_encoder(
        self, x: Matrix, y: Labels, trial: Hyperparameters
    ) -> tuple[Matrix, Matrix, Matrix]:
        """Train the encoder and return its weights, without the last bias.

        The bias v is left out, for it changes no distance in z.

        Args:
            x: Standardized rows, `[n, d]`.
            y: Their classes, `[n]`, -1 where unknown.
            trial: Latent width and weight.

        Returns:
            U `[h, d]`, u `[h]` and V `[latent, h]`, float32.
        """
        import torch
        from torch import Tensor, nn
        from torch.nn import functional

        from ilk.training.heads import BATCH_SIZE
        from ilk.training.trainer import Batch, Recipe, train

        (latent, weight), d = trial, x.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            encode = nn.Sequential(
                nn.Linear(d, HIDDEN_SIZE), nn.ReLU(), nn.Linear(HIDDEN_SIZE, latent)
            )
            decode = nn.Sequential(
                nn.Linear(latent, HIDDEN_SIZE), nn.ReLU(), nn.Linear(HIDDEN_SIZE, d)
            )
            classify = nn.Linear(latent, int(y.max()) + 1)

        def objective(net: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
            coder, decoder, classes = net.children()
            z, is_labelled = coder(batch.x), batch.y >= 0
            reconstruction_loss: Tensor = (decoder(z) - batch.x).square().sum(1).mean()
            classification_loss = functional.cross_entropy(
                classes(z[is_labelled]), batch.y[is_labelled], reduction="sum"
            )
            return (
                weight * classification_loss / is_labelled.sum().clamp(min=1)
                + (1 - weight) * reconstruction_loss
            )

        rows = Batch(torch.from_numpy(np.array(x)), torch.from_numpy(np.array(y)))
        recipe = Recipe(self.steps, min(BATCH_SIZE, len(x)), lr=4e-3, warmup=20, seed=self.seed)
        trained = train(nn.ModuleList([encode, decode, classify]), rows, objective, recipe)
        arrays = [
            p.detach().numpy().astype(np.float32) for p in next(trained.children()).parameters()
        ]
        return arrays[0], arrays[1], arrays[2]

    def calibrate(
        self, x: Matrix, y: Labels, trial: Hyperparameters, groups: Labels | None = None
    ) -> float | None:
        """Return the inverse temperature t that fits held-out labelled rows best.

        None if no class has two labelled rows or there is only one class.

        Args:
            x: Standardized rows, `[n, d]`.
            y: Their classes, `[n]`, -1 where unknown.
            trial: Latent width and weight.
            groups: Group of each row, `[n]`; no group is held out in part.
        """
        labelled_rows = np.flatnonzero(y >= 0)
        labelled_groups = None if groups is None else groups[labelled_rows]
        visible_y, k = y.copy(), int(y.max()) + 1
        fold = assign_folds(y[labelled_rows], FOLDS, self.seed, labelled_groups)
        held_out_rows = labelled_rows[fold == 0]
        visible_y[held_out_rows] = -1
        if (
            k < 2
            or not len(held_out_rows)
            or np.bincount(visible_y[visible_y >= 0], minlength=k).min() == 0
        ):
            return None
        hidden_weight, hidden_bias, latent_weight = self.fit_encoder(x, visible_y, trial)
        z = np.maximum(x @ hidden_weight.T + hidden_bias, 0) @ latent_weight.T
        centres = fit_kmeans(z, visible_y, 0, fix_known=True).centres
        return fit_inverse_temperature(
            -0.5 * squared_distances(z[held_out_rows], centres), y[held_out_rows]
        )


def _hide_classes(y: Labels, seed: int) -> Iterator[Labels]:
    """Yield labels `[n]` with some classes hidden, and half the rows of the others.

    The remaining classes are numbered without gaps.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(int(y.max()) + 1)
    for hidden_classes in np.array_split(order, min(FOLDS, len(order))) if len(order) > 1 else ():
        visible_classes = np.setdiff1d(order, hidden_classes)
        visible_y = np.full(len(y), -1, np.int64)
        for c, name in enumerate(visible_classes):
            rows = rng.permutation(np.flatnonzero(y == name))
            visible_y[rows[: -(-len(rows) // 2)]] = c
        yield visible_y


def _make_linear_rule(groups: KMeansResult, inverse_temperature: float) -> tuple[Matrix, Matrix]:
    """Return weight and bias of `-t |z - centre|^2 / 2`, up to terms common to all clusters."""
    centre = groups.centres.mean(0, dtype=np.float64)
    centred = groups.centres - centre
    return inverse_temperature * centred, -0.5 * inverse_temperature * np.einsum(
        "kd,kd->k", centred, centred
    ) - inverse_temperature * centred @ centre
