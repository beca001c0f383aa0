"""Gaussian discriminant analysis against the density itself and against scikit-learn."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from ilk.core.data import Data
from ilk.core.metrics import log_softmax, softmax
from ilk.maths.covariance import estimate_covariance
from ilk.maths.gaussian import compute_statistics
from ilk.methods.gda import GDA
from ilk.methods.streaming_gda import StreamingGDA


def draw(n=300, d=5, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    mix = rng.standard_normal((d, d))
    x = 2 * rng.standard_normal((3, d))[y] + rng.standard_normal((n, d)) @ mix
    return Data(x.astype(np.float32), y, ("a", "b", "c"))


@pytest.mark.parametrize("shrink", [None, 0.0, 0.3, 1.0, "oas", "ks"])
@pytest.mark.parametrize("uniform", [False, True])
def test_the_posterior_is_that_of_the_densities(shrink, uniform):
    data, new = draw(), draw(seed=0).x + 0.5
    logits = GDA(shrink=shrink, uniform=uniform).fit(data).logits(new)
    stats = compute_statistics(data.x, data.y, 3)
    prior = np.full(3, 1 / 3) if uniform else data.count_labels() / len(data)
    s = estimate_covariance(stats, shrink)
    density = np.stack(
        [
            multivariate_normal(data.x[data.y == c].mean(0, dtype=float), s).logpdf(new)
            for c in range(3)
        ]
    )
    np.testing.assert_allclose(
        log_softmax(logits, axis=1), log_softmax(density.T + np.log(prior), axis=1), atol=1e-4
    )


@pytest.mark.parametrize("shrink", [0.01, 0.5])
def test_scikit_learns_weights_but_for_the_degrees_of_freedom(shrink):
    x, y = load_digits(return_X_y=True)
    data = Data(x.astype(np.float32), y, tuple("0123456789"))
    ours = GDA(shrink=shrink).fit(data)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrink).fit(x, y)
    factor = (len(y) - 10) / len(y)  # they divide the scatter by n
    want = theirs.coef_ * factor
    np.testing.assert_allclose(ours.weight, want - want.mean(0), atol=1e-4)


def test_a_rare_class_needs_better_evidence_than_a_common_one():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [190, 10])
    x = (np.where(y == 0, -1.0, 1.0)[:, None] + rng.standard_normal((200, 1))).astype(np.float32)
    data = Data(x, y, ("common", "rare"))
    middle = np.zeros((1, 1), np.float32) + x[y == 0].mean() / 2 + x[y == 1].mean() / 2
    probs = softmax(GDA(shrink=0.0).fit(data).logits(middle), axis=1)
    np.testing.assert_allclose(probs, [[0.95, 0.05]], atol=1e-5)
    np.testing.assert_allclose(
        softmax(GDA(shrink=0.0, uniform=True).fit(data).logits(middle), axis=1), 0.5, atol=1e-5
    )


def test_a_linear_map_of_the_features_changes_no_answer_without_shrinkage():
    data, new = draw(), draw().x[:50]
    turn = np.random.default_rng(5).standard_normal((5, 5))
    moved = Data((data.x @ turn + 7).astype(np.float32), data.y, data.classes)
    np.testing.assert_allclose(
        softmax(GDA(shrink=0.0).fit(data).logits(new), axis=1),
        softmax(GDA(shrink=0.0).fit(moved).logits(new @ turn + 7), axis=1),
        atol=1e-3,
    )


@pytest.mark.parametrize("shrink", [None, 0.2, "ks"])
@pytest.mark.parametrize("by", ["chance", "class", "one row at a time"])
def test_parts_in_any_order_give_the_model_of_the_whole(shrink, by):
    data = draw(n=120)
    whole = GDA(shrink=shrink).fit(data)
    cut = {"chance": np.arange(120) % 4, "class": data.y, "one row at a time": np.arange(120)}[by]
    parts = [data.take(cut == c) for c in np.random.default_rng(1).permutation(np.unique(cut))]
    method = StreamingGDA(shrink=shrink)
    model = method.fit(parts[0])
    for part in parts[1:]:
        model = method.update(model, part)
    new = draw(seed=0).x
    np.testing.assert_allclose(
        softmax(model.logits(new), axis=1), softmax(whole.logits(new), axis=1), atol=1e-4
    )
    np.testing.assert_array_equal(model.counts, data.count_labels())


def test_an_update_leaves_the_model_before_it_alone_and_takes_unlabelled_rows():
    data = draw()
    method = StreamingGDA()
    first = method.fit(data.take(np.arange(100)))
    saved = first.scatter.copy(), first.means.copy()
    method.update(first, data.take(np.arange(100, 300)))
    np.testing.assert_array_equal(first.scatter, saved[0])
    np.testing.assert_array_equal(first.means, saved[1])
    bare = Data(data.x[:5], np.full(5, -1), data.classes)
    assert method.update(first, bare) is first
    with pytest.raises(ValueError, match="the model knows 3 classes, the data 4"):
        method.update(first, Data(data.x, data.y, ("a", "b", "c", "d")))


@pytest.mark.parametrize("shrink", [None, 0.3, 1.0, "oas"])
def test_fewer_rows_than_features_give_what_the_whole_space_would(shrink):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [9, 6, 4])
    x = (rng.standard_normal((3, 50))[y] + rng.standard_normal((19, 50)) + 5).astype(np.float32)
    data, new = Data(x, y, ("a", "b", "c")), rng.standard_normal((30, 50)) + 5
    stats = compute_statistics(x, y, 3)  # all 50 x 50 of it
    p = np.linalg.inv(estimate_covariance(stats, shrink))
    want = np.stack(
        [-0.5 * np.einsum("nd,de,ne->n", new - m, p, new - m) for m in stats.means], axis=1
    )
    np.testing.assert_allclose(
        log_softmax(GDA(shrink=shrink).fit(data).logits(new), axis=1),
        log_softmax(want + np.log(data.count_labels() / 19), axis=1),
        rtol=1e-3,
        atol=1e-2,
    )
