"""Long-tailed training rows, and baselines for class imbalance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import datasets
from ilk.core.data import Data, Labels
from ilk.core.metrics import macro_accuracy
from ilk.maths.folds import assign_folds
from ilk.maths.pca import fit_pca
from ilk.protocols import long_tail
from ilk.training.heads import Head, fit_head
from ilk.training.trainer import Batch, Recipe

MAX_PER_CLASS, N_POOL, N_TEST, N_AXES = 300, 8000, 4000, 128
TRAIN_FRACTION = 0.6  # of the digits is for training


@dataclass(frozen=True, eq=False)
class TrainTest:
    """Long-tailed training rows, and test rows."""

    train: Data
    test: Data


def draw_split(name: str, ratio: int, seed: int) -> TrainTest:
    """Draw the training and test rows of a seed."""
    rng = np.random.default_rng(seed)
    if name == "digits":
        data = datasets.read_digits()
        order, n = rng.permutation(len(data)), int(TRAIN_FRACTION * len(data))
        return TrainTest(
            long_tail(data.take(order[:n]), ratio, MAX_PER_CLASS, seed), data.take(order[n:])
        )
    pool, test = _draw_parts(name, rng)
    return reduce_features(TrainTest(long_tail(pool, ratio, MAX_PER_CLASS, seed), test), seed)


def _draw_parts(name: str, rng: np.random.Generator) -> tuple[Data, Data]:
    """Return random rows to cut a long tail from, and test rows.

    Those of CIFAR-10 both come from its test part, so that fewer images are to be embedded.
    """
    if name == "cifar":
        data = datasets.read_cifar("test")
        order = rng.permutation(len(data))
        return data.take(order[N_TEST:]), data.take(order[:N_TEST])
    read = {"mnist": datasets.read_mnist, "fashion": datasets.read_fashion}[name]
    parts = read("train"), read("test")
    pool, test = (
        part.take(rng.permutation(len(part))[:n])
        for part, n in zip(parts, (N_POOL, N_TEST), strict=True)
    )
    return pool, test


def reduce_features(split: TrainTest, seed: int, width: int = N_AXES) -> TrainTest:
    """Project both parts to the first `width` principal axes of the training rows and rotate."""
    axes = fit_pca(split.train.x, np.float32)
    basis = axes.basis[:, :width]
    shape = (basis.shape[1],) * 2
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal(shape))[0]
    train, test = (
        replace(part, x=((part.x - axes.centre) @ basis @ rotation).astype(np.float32))
        for part in (split.train, split.test)
    )
    return TrainTest(train, test)


def predict_weighted(split: TrainTest, seed: int) -> NDArray[np.int64]:
    """Predict with scikit-learn's class-weighted logistic regression on standardised features."""
    from sklearn.linear_model import LogisticRegression as Theirs
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train = split.train
    fold = assign_folds(train.y, 3, seed)  # a class with a single row is unseen in one fold
    splits = [(np.flatnonzero(fold != p), np.flatnonzero(fold == p)) for p in range(3)]
    model = make_pipeline(StandardScaler(), Theirs(class_weight="balanced", max_iter=2000))
    grid = {"logisticregression__C": [1e-3, 1e-2, 1e-1, 1.0]}
    search = GridSearchCV(model, grid, scoring=_balanced_accuracy, cv=splits)
    return np.asarray(search.fit(train.x, train.y).predict(split.test.x), np.int64)


def _balanced_accuracy(model: Any, x: NDArray[Any], y: Labels) -> float:
    """Return the balanced accuracy; a class that the model has not seen counts as missed."""
    return macro_accuracy(y, model.predict(x))


def fit_reweighted(train: Data, hidden: int, steps: int, seed: int) -> Head:
    """Fit a head under cross-entropy with row weights of one over the class size."""
    weight = torch.from_numpy((1 / train.count_labels()).astype(np.float32))

    def objective(network: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
        return functional.cross_entropy(network(batch.x), batch.y, weight)

    net = Head.from_data(train, hidden, seed)
    recipe = Recipe(steps, min(128, len(train)), 4e-3, 20, seed=seed)
    return fit_head(net, train, objective, recipe)
