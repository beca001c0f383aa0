"""k-means beside known classes: scores, numbers and what is refused."""

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.discovery.semi_supervised_kmeans import SemiSupervisedKMeans
from ilk.maths.clustering_accuracy import clustering_accuracy
from ilk.maths.kmeans import estimate_inverse_temperature, fit_kmeans


def world(new=2, known=2, rows=30, apart=10.0, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(known + new), rows)
    x = (apart * np.eye(known + new)[truth] + rng.standard_normal((len(truth), known + new))) + 50
    y = np.where((truth < known) & (np.arange(len(truth)) % 2 == 0), truth, -1)
    return Data(x.astype(np.float32), y, tuple(f"kind {c}" for c in range(known))), truth


@pytest.mark.parametrize("n_new", [None, 2])
def test_new_classes_are_found_and_known_ones_keep_their_place(n_new):
    data, truth = world()
    answer = SemiSupervisedKMeans(n_new=n_new).fit(data).logits(data.x).argmax(1)
    assert answer.max() == 3
    assert clustering_accuracy(truth, answer, 2).overall == 1
    np.testing.assert_array_equal(answer[truth < 2], truth[truth < 2])


def test_scores_are_squared_distances_from_the_means():
    data, _ = world(apart=2.0)
    logits = SemiSupervisedKMeans(n_new=2).fit(data).logits(data.x)
    x = (data.x - data.x.mean(0, dtype=np.float64)).astype(np.float32)
    groups = fit_kmeans(x, data.y, 2)
    apart = ((x[:, None].astype(float) - groups.centres) ** 2).sum(2)
    twin = -0.5 * estimate_inverse_temperature(x, data.y, groups) * apart
    np.testing.assert_allclose(logits - logits[:, :1], twin - twin[:, :1], atol=1e-3)


def test_without_unlabelled_rows_it_is_the_nearest_class_mean():
    data, truth = world(new=0, apart=1.0)
    known = Data(data.x, truth, data.classes)
    means = np.array([data.x[truth == c].mean(0) for c in range(2)])
    nearest = ((data.x[:, None] - means) ** 2).sum(2).argmin(1)
    logits = SemiSupervisedKMeans().fit(known).logits(data.x)
    assert logits.shape[1] == 2
    np.testing.assert_array_equal(logits.argmax(1), nearest)


def test_an_unseen_class_keeps_its_column_before_the_new_classes():
    data, truth = world()
    bare = Data(data.x, data.y, (*data.classes, "never"))
    logits = SemiSupervisedKMeans().fit(bare).logits(data.x)
    assert logits.shape == (len(data), 5)
    assert np.isneginf(logits[:, 2]).all()
    assert clustering_accuracy(truth, logits.argmax(1), 2).overall == 1


def test_invalid_input_raises_input_error():
    data, _ = world()
    few = data.take(np.append(np.flatnonzero(data.y >= 0), [1]))
    with pytest.raises(InputError, match="2 new classes need as many unlabelled rows"):
        SemiSupervisedKMeans(n_new=2).fit(few)
    for wrong in ({"n_new": -1}, {"n_init": 0}):
        with pytest.raises(ValueError, match="they must be at least 0 and 1"):
            SemiSupervisedKMeans(**wrong)
