"""k nearest neighbours against scikit-learn and against a loop."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from ilk.core.data import Data
from ilk.core.metrics import softmax
from ilk.methods import k_nearest
from ilk.methods.k_nearest import KNearest


def blobs(n=400, d=7, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    x = np.random.default_rng(9).standard_normal((3, d))[y] + rng.standard_normal((n, d))
    return Data(x.astype(np.float32), y, ("a", "b", "c"))


@pytest.mark.parametrize("k", [1, 4, 15])
def test_shares_are_scikit_learns_after_smoothing(k):
    data, new = blobs(), blobs(seed=1).x
    share = KNeighborsClassifier(k, algorithm="brute").fit(data.x, data.y).predict_proba(new)
    got = softmax(KNearest(k=k).fit(data).logits(new), axis=1)
    np.testing.assert_allclose(got, (k * share + 1 / 3) / (k + 1), atol=0.006)


def test_a_tie_goes_to_the_nearer():
    data = Data(np.array([[0.0], [1.0]], np.float32), [0, 1], ("left", "right"))
    model = KNearest(k=2).fit(data)
    assert list(model.logits(np.array([[0.4], [0.6]])).argmax(1)) == [0, 1]


@pytest.mark.parametrize("n", [45, 150])  # fewer rows than are proposed, and more
def test_k_maximizes_leave_one_out_accuracy(n):
    data = blobs(n)
    right = {}
    for k in (k for k in k_nearest.CANDIDATE_KS if k < n):
        hits = 0
        for i in range(n):
            rest = np.arange(n) != i
            model = KNearest(k=k).fit(data.take(rest))
            hits += model.logits(data.x[i : i + 1]).argmax() == data.y[i]
        right[k] = hits
    best = max(right.values())
    assert KNearest().fit(data).k == max(k for k, hits in right.items() if hits == best)
    assert best > right[1]


def test_predictions_do_not_depend_on_the_chunk_size(monkeypatch):
    x, y = load_digits(return_X_y=True)  # whole numbers: distances tie often
    data = Data(x[:500].astype(np.float32), y[:500], tuple("0123456789"))
    model = KNearest(k=3).fit(data)
    whole = model.logits(x[500:800])
    monkeypatch.setattr(k_nearest, "MAX_BLOCK_SIZE", 5000)
    np.testing.assert_array_equal(model.logits(x[500:800]), whole)
    assert np.mean(whole.argmax(1) == y[500:800]) > 0.85


def test_a_training_row_is_its_own_nearest_far_from_zero_too():
    data = blobs(300)
    far = Data(data.x + 1000, data.y, data.classes)
    near = KNearest(k=1).fit(far).find_nearest(far.x.astype(float), 1)[:, 0]
    np.testing.assert_array_equal(near, np.arange(300))


def test_more_neighbours_than_rows_use_all_rows_and_zero_raises():
    data = blobs(9)
    assert KNearest(k=50).fit(data).k == 9
    for bad in (0, -2, 1.5):
        with pytest.raises(ValueError, match="it must be a whole number, at least 1"):
            KNearest(k=bad)
