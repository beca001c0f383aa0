"""Rows with a long tail, and the rivals of what is meant for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ilk.bench import _sets
from ilk.data import Data, Labels
from ilk.maths.axes import principal
from ilk.maths.folds import stratified
from ilk.metrics import macro_accuracy
from ilk.protocols import long_tail
from ilk.training.heads import Head, fitted
from ilk.training.loop import Batch, Recipe

MOST, POOL, TEST, AXES = 300, 8000, 4000, 128
SHARE = 0.6  # of the digits is learnt from


@dataclass(frozen=True, eq=False)
class Cut:
    """Rows to learn from, with a tail, and rows to answer for."""

    train: Data
    test: Data


def drawn(name: str, ratio: int, seed: int) -> Cut:
    """The rows of a seed."""
    rng = np.random.default_rng(seed)
    if name == "digits":
        data = _sets.digits()
        order, n = rng.permutation(len(data)), int(SHARE * len(data))
        return Cut(long_tail(data.rows(order[:n]), ratio, MOST, seed), data.rows(order[n:]))
    parts = _part(name, "train"), _part(name, "test")
    pool, test = (
        part.rows(rng.permutation(len(part))[:n])
        for part, n in zip(parts, (POOL, TEST), strict=True)
    )
    return reduced(Cut(long_tail(pool, ratio, MOST, seed), test), seed)


def _part(name: str, part: str) -> Data:
    return _sets.fashion(part) if name == "fashion" else _sets.cifar(part)


def reduced(cut: Cut, seed: int, width: int = AXES) -> Cut:
    """Both parts on the first `width` principal axes of the training rows, turned at random."""
    axes = principal(cut.train.x, np.float32)
    basis = axes.basis[:, :width]
    square = (basis.shape[1],) * 2
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal(square))[0]
    train, test = (
        replace(part, x=((part.x - axes.centre) @ basis @ turn).astype(np.float32))
        for part in (cut.train, cut.test)
    )
    return Cut(train, test)


def weighed(cut: Cut, seed: int) -> NDArray[np.int64]:
    """Answers of scikit-learn's class-weighted logistic regression on standardised features."""
    from sklearn.linear_model import LogisticRegression as Theirs
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train = cut.train
    part = stratified(train.y, 3, seed)  # a class of one row is in a single part: it is unseen once
    splits = [(np.flatnonzero(part != p), np.flatnonzero(part == p)) for p in range(3)]
    model = make_pipeline(StandardScaler(), Theirs(class_weight="balanced", max_iter=2000))
    grid = {"logisticregression__C": [1e-3, 1e-2, 1e-1, 1.0]}
    search = GridSearchCV(model, grid, scoring=_balanced, cv=splits)
    return np.asarray(search.fit(train.x, train.y).predict(cut.test.x), np.int64)


def _balanced(model: Any, x: NDArray[Any], y: Labels) -> float:
    """Balanced accuracy; a class that the model never saw counts as missed."""
    return macro_accuracy(y, model.predict(x))


def reweighted(train: Data, hidden: int, steps: int, seed: int) -> Head:
    """A head under cross-entropy in which each row weighs one over the size of its class."""
    weight = torch.from_numpy((1 / train.counts()).astype(np.float32))

    def objective(network: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
        return functional.cross_entropy(network(batch.x), batch.y, weight)

    net = Head.of(train, hidden, seed)
    recipe = Recipe(steps, min(128, len(train)), 4e-3, 20, seed=seed)
    return fitted(net, train, objective, recipe)
