"""Tables with columns that mean nothing, and the black box that is explained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import read_pendigits
from ilk.core.data import Data, Features, Labels
from ilk.core.linear_models import MLP
from ilk.core.metrics import softmax
from ilk.training.heads import Head, cross_entropy, fit_head
from ilk.training.trainer import Recipe

HIDDEN = 128
STEPS = 200


@dataclass(frozen=True)
class PaddedTable:
    """Rows of the network, of the rules, and for the test; `is_real [d]` tells noise columns."""

    train: Data
    other: Data
    test: Data
    is_real: NDArray[np.bool_]


def read_table(name: str, seed: int) -> PaddedTable:
    """Return `breast cancer`, `pendigits` or `planted` with noise columns, cut in three at random.

    Args:
        name: Which table: breast cancer has 30 columns and 470 of noise, pendigits 16 and 184, the
            planted one of scikit-learn's `make_classification` 10 and 190.
        seed: Seed of the noise, of the order of columns, and of the cut.
    """
    rng = np.random.default_rng(seed)
    if name == "planted":
        from sklearn.datasets import make_classification

        x, y = make_classification(
            3000, 10, n_informative=10, n_redundant=0, n_clusters_per_class=2, random_state=seed
        )
        return _pad(x, y, 190, rng)
    if name == "breast cancer":
        from sklearn.datasets import load_breast_cancer

        x, y = load_breast_cancer(return_X_y=True)
        return _pad(x, y, 470, rng)
    data = read_pendigits()[0]
    rows = rng.choice(len(data), 3000, replace=False)
    return _pad(data.x[rows], data.y[rows], 184, rng)


def _pad(x: NDArray[np.floating], y: Labels, n_noise: int, rng: np.random.Generator) -> PaddedTable:
    """Add noise, half normal, half columns in another order of rows, and cut rows in three."""
    x = (x - x.mean(0)) / x.std(0)
    copied = rng.integers(0, x.shape[1], n_noise // 2)
    columns = [
        x,
        rng.standard_normal((len(x), n_noise - len(copied))),
        np.column_stack([rng.permutation(x[:, j]) for j in copied]),
    ]
    is_real = np.arange(x.shape[1] + n_noise) < x.shape[1]
    order = rng.permutation(len(is_real))
    rows = rng.permutation(len(x))
    data = Data(
        np.hstack(columns)[:, order].astype(np.float32),
        y,
        tuple(f"class {c}" for c in range(int(y.max()) + 1)),
    )
    first, second, third = np.array_split(rows, 3)
    return PaddedTable(data.take(first), data.take(second), data.take(third), is_real[order])


@dataclass(frozen=True)
class BlackBoxNetwork:
    """A network of one hidden layer, as a function of rows to probabilities."""

    model: MLP

    @classmethod
    def fit(cls, data: Data, seed: int, steps: int = STEPS) -> BlackBoxNetwork:
        """Train on labelled rows."""
        head = Head.from_data(data, HIDDEN, seed)
        recipe = Recipe(steps, min(128, len(data)), 4e-3, 20, 0.01, seed=seed)
        return cls(fit_head(head, data, cross_entropy, recipe).to_model())

    def __call__(self, x: Features) -> NDArray[np.float64]:
        m = self.model
        z = (np.asarray(x, np.float32) - m.centre) / m.scale  # float32: many rows are probed
        hidden = np.maximum(z @ m.hidden_weight.T + m.hidden_bias, 0)
        return np.asarray(softmax((hidden @ m.weight.T + m.bias).astype(np.float64), axis=1))
