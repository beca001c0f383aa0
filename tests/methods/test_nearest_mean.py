"""Nearest class mean against distances measured one by one."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from ilk.core.data import Data
from ilk.core.metrics import log_loss, softmax
from ilk.methods.nearest_mean import NearestClassMean


def digits():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))  # writers come one after the other
    x, y = x[order], y[order]
    data = Data(x.astype(np.float32), y, tuple("0123456789"))
    return data.take(np.arange(0, 1797, 2)), data.take(np.arange(1, 1797, 2))


@pytest.mark.parametrize("scaled", [False, True])
def test_differences_of_scores_are_differences_of_squared_distances(scaled):
    train, test = digits()
    model = NearestClassMean(standardize=scaled).fit(train)
    scale = np.ones(64)
    if scaled:
        deviation = train.x.std(0, dtype=float)
        scale = np.maximum(deviation, 0.1 * deviation.mean())
    turn = lambda x: (lambda z: z / np.linalg.norm(z, axis=1, keepdims=True))(  # noqa: E731
        (x - train.x.mean(0, dtype=float)) / scale
    )
    means = np.stack([turn(train.x)[train.y == c].mean(0) for c in range(10)])
    far = np.stack([np.sum((turn(test.x) - m) ** 2, axis=1) for m in means], axis=1)
    got = model.logits(test.x)
    t = (got[0, 1] - got[0, 0]) / (0.5 * (far[0, 0] - far[0, 1]))
    assert t > 0
    np.testing.assert_allclose(got - got[:, :1], -0.5 * t * (far - far[:, :1]), atol=1e-3)
    assert np.mean(got.argmax(1) == test.y) > 0.85


@pytest.mark.parametrize("shots", [3, 60])
def test_its_sharpness_is_near_the_best_for_rows_it_never_saw(shots):
    train, test = digits()
    first = np.concatenate([np.flatnonzero(train.y == c)[:shots] for c in range(10)])
    train = train.take(first)
    logits = NearestClassMean().fit(train).logits(test.x)
    loss = [log_loss(test.y, softmax(f * logits, axis=1)) for f in np.linspace(0.3, 3, 55)]
    assert log_loss(test.y, softmax(logits, axis=1)) < 1.1 * min(loss)


def test_the_length_of_a_row_about_the_centre_says_nothing():
    train, test = digits()
    model = NearestClassMean().fit(train)
    centre = train.x.mean(0, dtype=float).astype(np.float32)
    np.testing.assert_allclose(
        model.logits(centre + 3 * (test.x - centre)), model.logits(test.x), rtol=1e-4, atol=1e-4
    )


def test_the_chosen_sharpness_maximizes_the_leave_one_out_likelihood():
    train, _ = digits()
    train = train.take(
        np.concatenate([np.flatnonzero(train.y == c)[: 2 + c % 3] for c in range(10)])
    )
    off = train.x - train.x.mean(0, dtype=float)
    u = off / np.linalg.norm(off, axis=1, keepdims=True)
    far = np.empty((len(u), 10))
    for i in range(len(u)):
        rest = np.arange(len(u)) != i
        for c in range(10):
            far[i, c] = np.sum((u[i] - u[rest & (train.y == c)].mean(0)) ** 2)
    grid = np.geomspace(1, 100, 2001)
    want = grid[np.argmin([log_loss(train.y, softmax(-0.5 * t * far, axis=1)) for t in grid])]
    model = NearestClassMean().fit(train)
    means = np.stack([u[train.y == c].mean(0) for c in range(10)])
    np.testing.assert_allclose(model.weight, want * means, rtol=0.01, atol=0.01)
