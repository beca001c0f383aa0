"""Taking the prior off: Bayes' rule, and a regression that is scikit-learn's."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression as Theirs

from ilk.core.data import Data
from ilk.core.metrics import macro_accuracy, softmax
from ilk.maths.logistic_regression import compute_label_log_prior, fit_regression
from ilk.methods.logistic_regression import LogisticRegression
from ilk.methods.prior_correction import PriorCorrection
from ilk.protocols import long_tail


def digits(ratio=20):
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    data = Data((x[order] / 16).astype(np.float32), y[order], tuple("0123456789"))
    return long_tail(data.take(np.arange(1000)), ratio, seed=1), data.take(np.arange(1000, 1797))


def centred(logits):
    return logits - logits.mean(1, keepdims=True)


@pytest.mark.parametrize("C", [0.3, None])
@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
def test_it_is_logistic_regression_less_tau_log_shares(C, tau):
    train, test = digits()
    plain = LogisticRegression(C=C).fit(train).logits(test.x)
    wanted = plain - tau * np.log(train.count_labels() / len(train))
    got = PriorCorrection(tau, C=C).fit(train).logits(test.x)
    np.testing.assert_allclose(centred(got), centred(wanted), atol=2e-4)


def test_the_regression_is_scikit_learns():
    train, test = digits()
    theirs = Theirs(C=0.7, tol=1e-10, max_iter=5000).fit(train.x, train.y)
    regression = fit_regression(train, C=0.7)
    got = (test.x - regression.centre) @ regression.weight.T + regression.bias
    np.testing.assert_allclose(softmax(got, axis=1), theirs.predict_proba(test.x), atol=3e-3)


def test_probabilities_become_those_of_equal_shares():
    """Three Gaussians with one covariance, where logistic regression can be exactly right."""
    rng = np.random.default_rng(3)
    means, shares = np.array([[0.0, 0], [1.5, 0], [0, 1.5]]), np.array([0.9, 0.08, 0.02])
    y = rng.choice(3, 40_000, p=shares)
    x = (means[y] + rng.standard_normal((len(y), 2))).astype(np.float32)
    model = PriorCorrection(C=1e3).fit(Data(x, y, ("a", "b", "c")))
    points = rng.standard_normal((200, 2))
    density = np.stack([multivariate_normal(m).pdf(points) for m in means], axis=1)
    wanted = density / density.sum(1, keepdims=True)
    np.testing.assert_allclose(softmax(model.logits(points), axis=1), wanted, atol=0.06)


def test_rare_classes_gain_what_plain_regression_withholds():
    train, test = digits(ratio=50)
    few = np.isin(test.y, np.argsort(train.count_labels())[:3])
    plain, corrected = (
        method.fit(train).logits(test.x).argmax(1)
        for method in (LogisticRegression(), PriorCorrection())
    )
    assert macro_accuracy(test.y[few], corrected[few]) > macro_accuracy(test.y[few], plain[few])
    assert macro_accuracy(test.y, corrected) > macro_accuracy(test.y, plain) + 0.02


def test_shares_of_classes_without_a_row_are_left_out():
    log_prior = compute_label_log_prior(Data(np.zeros((4, 1)), [0, 0, 0, 2], tuple("abcde")))
    np.testing.assert_allclose(log_prior, [np.log(0.75), 0, np.log(0.25), 0, 0])


@pytest.mark.parametrize(
    ("given", "words"),
    [({"tau": np.nan}, "tau is nan"), ({"C": 0.0}, "C is 0"), ({"folds": 1}, "folds is 1")],
)
def test_invalid_settings_are_rejected(given, words):
    with pytest.raises(ValueError, match=words):
        PriorCorrection(**given)
