"""Groups rows without a label in a small latent space, tuned by hiding classes that are known.

Colin Troisemaine, Alexandre Reiffers-Masson, Stéphane Gosselin, Vincent Lemaire, Sandrine Vaton,
2023, A Practical Approach to Novel Class Discovery in Tabular Data, arXiv 2311.05440.

    encoder   z = V relu(U x + u) + v
    loss      w CE(class of z, labelled rows) + (1 - w) |decoder(z) - x|^2, all rows
    groups    k-means of z; means of known classes stay where their labelled rows are

The width of z and w are those that do best where the answer is known: in each fold some known
classes lose their labels, the encoder learns without them, and the rows that lost a label are
grouped with the number of classes told. The number of new classes, where it is not told, is the one
with the best silhouette in z.

Where it departs from the paper: rows without a label may be of known classes too, so in each fold
the other classes lose half their labels and accuracy is counted over all rows that lost theirs; new
means are seeded by squared distance; the optimiser is the one of `ilk.training.loop`. Its spectral
variant is left out: it groups the rows at hand and has no answer for another.

With five known classes the choice on hidden ones was not told apart from fixed hyperparameters, and
on digits plain k-means that is told the number groups better: an encoder that learns to tell a few
classes apart forgets some of what tells others apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Labels
from ilk.errors import InputError
from ilk.maths.clusters import Groups, grouped, matched, numbered, sharp, squares
from ilk.maths.folds import stratified
from ilk.maths.sharpness import sharpness
from ilk.models import Facts, Perceptron, learnable

LATENT, WEIGHT = (8, 32), (0.1, 0.5, 0.9)  # what is tried
PLAIN = (32, 0.5)  # where no class can be hidden, or none need be looked for
FOLDS, HIDDEN = 3, 64
Matrix = NDArray[np.floating[Any]]
Trial = tuple[int, float]  # latent width, weight of the cross-entropy


@dataclass(frozen=True)
class PracticalDiscovery(Facts):
    """k-means beside known classes in a latent space.

    Attributes:
        new: Number of new classes; None finds it.
        latent: Width of the latent space, >= 1; None finds it.
        weight: Share of the cross-entropy in the loss, in [0, 1]; None finds it.
        steps: Updates of the encoder, >= 1.
        seed: Of weights, folds and seeds.
    """

    discovers: ClassVar[bool] = True

    new: int | None = None
    latent: int | None = None
    weight: float | None = None
    steps: int = 150
    seed: int = 0

    def __post_init__(self) -> None:
        least = self.steps if self.latent is None else min(self.steps, self.latent)
        if (self.new or 0) < 0 or least < 1:
            raise ValueError(f"{self} asks for less than nothing; new >= 0, latent and steps >= 1")
        if self.weight is not None and not 0 <= self.weight <= 1:
            raise ValueError(f"weight is {self.weight}; it is a share in [0, 1]")

    def fit(self, data: Data) -> Perceptron:
        known = learnable(data, self)
        seen, y = np.flatnonzero(known.counts()), data.y.copy()
        y[y >= 0] = np.searchsorted(seen, y[y >= 0])
        if (self.new or 0) > np.sum(y < 0):
            raise InputError(f"{self.new} new classes need as many rows without a label; ask less")
        x = np.asarray(data.x, np.float32)
        centre = x.mean(0, dtype=np.float64)
        spread = x.std(0, dtype=np.float64)
        scale = np.where(spread > 1e-6 * max(spread.max(), 1e-30), spread, 1.0)
        x = ((x - centre) / scale).astype(np.float32)
        trial = self.chosen(x, y)
        inner, threshold, outer = self.encoder(x, y, trial)
        z = np.maximum(x @ inner.T + threshold, 0) @ outer.T
        new = numbered(z, y, fixed=True, seed=self.seed) if self.new is None else self.new
        groups = grouped(z, y, new, fixed=True, seed=self.seed)
        to, bias = _rule(groups, self.sharpness(x, y, trial) or sharp(z, y, groups, fixed=True))
        at = np.append(seen, data.k + np.arange(new))
        weights = np.zeros((data.k + new, len(threshold)), np.float32)
        biases = np.full(len(weights), -np.inf, np.float32)
        weights[at], biases[at] = to @ outer, bias
        return Perceptron(
            centre.astype(np.float32), scale.astype(np.float32), inner, threshold, weights, biases
        )

    def chosen(self, x: Matrix, y: Labels) -> Trial:
        """Latent width and weight: as told, else the best on classes hidden for the purpose.

        Args:
            x: Standardised rows, `[n, d]`.
            y: Their classes, `[n]`, -1 where not known.
        """
        wide = LATENT if self.latent is None else (self.latent,)
        weights = WEIGHT if self.weight is None else (self.weight,)
        trials = list(product(wide, weights))
        folds = list(_hiding(y, self.seed)) if (y < 0).any() and len(trials) > 1 else []
        if not folds:
            return self.latent or PLAIN[0], PLAIN[1] if self.weight is None else self.weight
        scores = [
            np.mean([self.hidden_accuracy(x, y, fold, trial) for fold in folds]) for trial in trials
        ]
        return trials[int(np.argmax(scores))]

    def hidden_accuracy(self, x: Matrix, y: Labels, shown: Labels, trial: Trial) -> float:
        """How well rows that lost their label are grouped, their number of classes told."""
        inner, threshold, outer = self.encoder(x, shown, trial)
        told = y >= 0
        z = np.maximum(x[told] @ inner.T + threshold, 0) @ outer.T
        lost, new = shown[told] < 0, len(np.unique(y[told])) - int(shown.max()) - 1
        groups = grouped(z, shown[told], min(new, int(lost.sum())), fixed=True, seed=self.seed)
        return matched(y[told][lost], groups.answer[lost], 0).every

    def encoder(self, x: Matrix, y: Labels, trial: Trial) -> tuple[Matrix, Matrix, Matrix]:
        """Weights `[h, d]` and threshold `[h]` of the hidden layer, weights `[latent, h]` after it.

        A constant added to z changes no distance, so there is none.
        """
        import torch
        from torch import Tensor, nn
        from torch.nn import functional

        from ilk.training.heads import BATCH
        from ilk.training.loop import Batch, Recipe, train

        (latent, weight), d = trial, x.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            encode = nn.Sequential(nn.Linear(d, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, latent))
            decode = nn.Sequential(nn.Linear(latent, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, d))
            classify = nn.Linear(latent, int(y.max()) + 1)

        def objective(net: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
            coder, decoder, classes = net.children()
            z, known = coder(batch.x), batch.y >= 0
            rebuilt: Tensor = (decoder(z) - batch.x).square().sum(1).mean()
            named = functional.cross_entropy(classes(z[known]), batch.y[known], reduction="sum")
            return weight * named / known.sum().clamp(min=1) + (1 - weight) * rebuilt

        rows = Batch(torch.from_numpy(np.array(x)), torch.from_numpy(np.array(y)))
        recipe = Recipe(self.steps, min(BATCH, len(x)), lr=4e-3, warmup=20, seed=self.seed)
        made = train(nn.ModuleList([encode, decode, classify]), rows, objective, recipe)
        arrays = [p.detach().numpy().astype(np.float32) for p in next(made.children()).parameters()]
        return arrays[0], arrays[1], arrays[2]

    def sharpness(self, x: Matrix, y: Labels, trial: Trial) -> float | None:
        """How sharp scores are, by labelled rows that an encoder learnt without their label.

        None where no class has two rows, or there is a single class.
        """
        told = np.flatnonzero(y >= 0)
        shown, k = y.copy(), int(y.max()) + 1
        held = told[stratified(y[told], FOLDS, self.seed) == 0]
        shown[held] = -1
        if k < 2 or not len(held) or np.bincount(shown[shown >= 0], minlength=k).min() == 0:
            return None
        inner, threshold, outer = self.encoder(x, shown, trial)
        z = np.maximum(x @ inner.T + threshold, 0) @ outer.T
        centres = grouped(z, shown, 0, fixed=True).centres
        return sharpness(-0.5 * squares(z[held], centres), y[held])


def _hiding(y: Labels, seed: int) -> Iterator[Labels]:
    """Labels of which some are hidden, `[n]`: whole classes, and half the rows of the others.

    The classes that are left are numbered without gaps.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(int(y.max()) + 1)
    for part in np.array_split(order, min(FOLDS, len(order))) if len(order) > 1 else ():
        left = np.setdiff1d(order, part)
        shown = np.full(len(y), -1, np.int64)
        for c, name in enumerate(left):
            rows = rng.permutation(np.flatnonzero(y == name))
            shown[rows[: -(-len(rows) // 2)]] = c
        yield shown


def _rule(groups: Groups, t: float) -> tuple[Matrix, Matrix]:
    """Weight and bias of `-t |z - mean|^2 / 2` less what all groups share."""
    centre = groups.centres.mean(0, dtype=np.float64)
    off = groups.centres - centre
    return t * off, -0.5 * t * np.einsum("kd,kd->k", off, off) - t * off @ centre
