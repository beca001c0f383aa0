"""Ridge against scikit-learn and against leaving rows out one by one."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge as ScikitRidge

from ilk.core.data import Data, one_hot
from ilk.maths.pca import fit_pca
from ilk.methods import ridge
from ilk.methods.ridge import Ridge


def digits(n=400, d=64):
    x, y = load_digits(return_X_y=True)
    return Data(x[:n, :d].astype(np.float32), y[:n], tuple("0123456789"))


def centred(scores):
    return scores - scores.mean(1, keepdims=True)


@pytest.mark.parametrize("n", [30, 400])  # fewer rows than features, and more
@pytest.mark.parametrize("alpha", [1.0, 1e3])
def test_scores_are_scikit_learns_times_one_factor(n, alpha):
    data, new = digits(n), digits(600).x[400:]
    got = centred(Ridge(alpha=alpha).fit(data).logits(new))
    theirs = ScikitRidge(alpha=alpha).fit(data.x.astype(float), one_hot(data.y, 10)).predict(new)
    factor = np.vdot(got, centred(theirs)) / np.vdot(centred(theirs), centred(theirs))
    assert factor > 0
    np.testing.assert_allclose(got, factor * centred(theirs), atol=1e-4 * factor)


@pytest.mark.parametrize("n", [30, 90])
def test_the_closed_form_misses_what_leaving_out_misses(n):
    data = digits(n)
    members, problem = one_hot(data.y, 10), ridge._Problem.from_data(data)
    for alpha in (10.0, 1e4):
        got = problem.compute_residuals(alpha, np.arange(n))
        for i in range(0, n, 7):
            rest = np.arange(n) != i
            twin = ScikitRidge(alpha=alpha).fit(data.x[rest].astype(float), members[rest])
            want = members[i] - twin.predict(data.x[i : i + 1].astype(float))[0]
            np.testing.assert_allclose(got[i], want, atol=1e-6)


def test_the_penalty_is_that_of_the_least_left_out_error():
    data = digits(60)
    members = one_hot(data.y, 10)
    level = fit_pca(data.x).eigenvalues.mean()
    wrong = []
    for alpha in level * ridge.ALPHAS:
        miss = 0.0
        for i in range(len(data)):
            rest = np.arange(len(data)) != i
            twin = ScikitRidge(alpha=alpha).fit(data.x[rest].astype(float), members[rest])
            miss += np.sum((members[i] - twin.predict(data.x[i : i + 1].astype(float))[0]) ** 2)
        wrong.append(miss)
    best = level * ridge.ALPHAS[np.argmin(wrong)]
    assert 0 < np.argmin(wrong) < len(wrong) - 1
    x = digits(600).x[60:]
    np.testing.assert_allclose(
        Ridge().fit(data).logits(x), Ridge(alpha=float(best)).fit(data).logits(x), rtol=1e-9
    )


def test_invalid_penalties_are_rejected():
    with pytest.raises(ValueError, match="alpha is 0; it must be above 0"):
        Ridge(alpha=0)
