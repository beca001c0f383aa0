"""A covariance in which classes count the same, against sums over classes one by one."""

import numpy as np
import pytest
from sklearn.datasets import load_iris

from ilk.core.data import Data
from ilk.methods.balanced_gda import BalancedGDA
from ilk.methods.gda import GDA


def iris(sizes=(50, 20, 8)):
    x, y = load_iris(return_X_y=True)
    rows = np.concatenate([np.flatnonzero(y == c)[:n] for c, n in enumerate(sizes)])
    names = tuple(f"kind {c}" for c in range(3))
    return Data(x[rows].astype(np.float32), y[rows], names), Data(x.astype(np.float32), y, names)


def centred(logits):
    return logits - logits.mean(1, keepdims=True)


def scores(x, means, covariance):
    solved = np.linalg.solve(covariance, means.T)
    return x.astype(float) @ solved - 0.5 * np.sum(means.T * solved, axis=0)


def test_its_covariance_is_the_mean_of_the_classes_own():
    train, test = iris()
    x = train.x.astype(float)
    own = [np.cov(x[train.y == c], rowvar=False) for c in range(3)]
    means = np.stack([x[train.y == c].mean(0) for c in range(3)])
    want = scores(test.x, means, np.mean(own, axis=0))
    got = BalancedGDA(shrink=0.0).fit(train).logits(test.x)
    np.testing.assert_allclose(centred(got), centred(want), rtol=1e-3, atol=2e-2)


def test_a_single_row_class_does_not_affect_the_covariance():
    train, test = iris((50, 20, 1))
    x = train.x.astype(float)
    own = [np.cov(x[train.y == c], rowvar=False) for c in range(2)]
    means = np.stack([x[train.y == c].mean(0) for c in range(3)])
    got = BalancedGDA(shrink=0.0).fit(train).logits(test.x)
    want = scores(test.x, means, np.mean(own, axis=0))
    np.testing.assert_allclose(centred(got), centred(want), rtol=1e-3, atol=2e-2)


@pytest.mark.parametrize("shrink", [None, "oas", 0.3])
@pytest.mark.parametrize("sizes", [(50, 20, 8), (2, 1, 1)])
def test_rows_as_they_come_are_gda_under_equal_shares(shrink, sizes):
    train, test = iris(sizes)
    got = BalancedGDA(shrink=shrink, balance=0.0).fit(train).logits(test.x)
    want = GDA(shrink=shrink, uniform=True).fit(train).logits(test.x)
    np.testing.assert_allclose(centred(got), centred(want), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shrink", [None, "oas", 0.0])
def test_balanced_rows_are_plain_gda(shrink):
    train, test = iris((20, 20, 20))
    got = BalancedGDA(shrink=shrink).fit(train).logits(test.x)
    want = GDA(shrink=shrink).fit(train).logits(test.x)
    np.testing.assert_allclose(centred(got), centred(want), rtol=1e-4, atol=1e-3)


def test_a_class_many_times_over_changes_the_scores_of_gda_but_not_of_it():
    """Without shrinkage only a class's own mean and covariance count, not its rows."""
    train, test = iris()
    again = train.take(np.concatenate([np.arange(len(train)), *[np.flatnonzero(train.y == 0)] * 9]))
    for method, steady in ((BalancedGDA(shrink=0.0), True), (GDA(shrink=0.0, uniform=True), False)):
        one, other = (centred(method.fit(d).logits(test.x)) for d in (train, again))
        # n - 1 for n in the covariance of the class that is repeated: 490 / 49 / (500 - 1) * 49
        assert (np.abs(one - other).max() < 0.03 * np.abs(one).max()) == steady


@pytest.mark.parametrize("params", [{"balance": 1.5}, {"balance": -0.1}, {"shrink": 2.0}])
def test_invalid_params_raise(params):
    with pytest.raises(ValueError, match=f"{next(iter(params))} is"):
        BalancedGDA(**params)
