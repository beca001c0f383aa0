"""Nearest class mean against distances measured one by one."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from ilk.data import Data
from ilk.methods.nearest_mean import NearestClassMean
from ilk.metrics import log_loss, softmax


def digits():
    x, y = load_digits(return_X_y=True)
    data = Data(x.astype(np.float32), y, tuple("0123456789"))
    return data.rows(np.arange(0, 1797, 2)), data.rows(np.arange(1, 1797, 2))


@pytest.mark.parametrize("scaled", [False, True])
def test_differences_of_scores_are_differences_of_squared_distances(scaled):
    train, test = digits()
    model = NearestClassMean(scaled=scaled).fit(train)
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


def test_its_sharpness_is_near_the_best_for_rows_it_never_saw():
    train, test = digits()
    logits = NearestClassMean().fit(train).logits(test.x)
    loss = [log_loss(test.y, softmax(f * logits, axis=1)) for f in np.linspace(0.3, 3, 55)]
    assert log_loss(test.y, softmax(logits, axis=1)) < 1.02 * min(loss)


def test_the_length_of_a_row_about_the_centre_says_nothing():
    train, test = digits()
    model = NearestClassMean().fit(train)
    centre = train.x.mean(0, dtype=float).astype(np.float32)
    np.testing.assert_allclose(
        model.logits(centre + 3 * (test.x - centre)), model.logits(test.x), rtol=1e-4, atol=1e-4
    )
