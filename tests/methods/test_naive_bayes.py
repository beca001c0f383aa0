"""Naive Bayes with shared variances, against the paper's formulas summed one feature at a time."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.datasets import load_digits
from sklearn.naive_bayes import GaussianNB

from ilk.core.data import Data
from ilk.core.metrics import log_softmax
from ilk.methods.naive_bayes import NaiveBayes


def digits():
    x, y = load_digits(return_X_y=True)
    keep = x.std(0) > 1  # every pixel left has a variance above the floor
    return Data(x[:, keep].astype(np.float32), y, tuple("0123456789")).take(np.arange(600))


@pytest.mark.parametrize("floor", [0.0, 1e-3])
def test_log_posteriors_are_sums_of_normal_densities_with_the_pooled_variance(floor):
    data = digits().take(np.arange(0, 600, 2))
    prior = data.count_labels() / len(data)
    parts = [data.x[data.y == c].astype(float) for c in range(10)]
    tied = sum(p * (part.var(0) + 1e-9) for p, part in zip(prior, parts, strict=True))
    new = digits().x[1::2].astype(float)
    want = np.stack(
        [
            np.log(p) + norm(part.mean(0), np.sqrt(tied)).logpdf(new).sum(1)
            for p, part in zip(prior, parts, strict=True)
        ],
        axis=1,
    )
    got = NaiveBayes(variance_floor=floor).fit(data).logits(new)
    np.testing.assert_allclose(log_softmax(got, axis=1), log_softmax(want, axis=1), atol=2e-3)


def test_scikit_learns_gaussian_nb_with_its_variances_tied_by_hand():
    data = digits()
    theirs = GaussianNB(var_smoothing=0.0).fit(data.x.astype(float), data.y)
    theirs.var_[:] = theirs.class_prior_ @ theirs.var_
    np.testing.assert_allclose(
        log_softmax(NaiveBayes().fit(data).logits(data.x), axis=1),
        theirs.predict_log_proba(data.x.astype(float)),
        atol=2e-3,
    )


def test_a_dead_feature_that_stirs_does_not_outvote_the_rest_unless_asked_to():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 50)
    x = np.column_stack([4.0 * y + rng.standard_normal(100), np.zeros(100)])
    x[0, 1] = 1e-3  # dead but for one row of class 0
    data = Data(x.astype(np.float32), y, ("low", "high"))
    new = np.array([[4.0, 0.5]], np.float32)  # plainly high, and the dead feature stirs
    assert NaiveBayes().fit(data).logits(new).argmax() == 1
    assert NaiveBayes(variance_floor=0.0).fit(data).logits(new).argmax() == 0


def test_negative_floors_are_rejected():
    with pytest.raises(ValueError, match=r"floor is -1; it must be at least 0"):
        NaiveBayes(variance_floor=-1)
