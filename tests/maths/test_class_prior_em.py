"""EM over class priors: against direct maximization of the likelihood, with weights and counts."""

import numpy as np
import pytest
from scipy.optimize import minimize

from ilk.maths.class_prior_em import estimate_class_priors


def make_likelihood(n=300, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    x = rng.standard_normal(n) + np.array([-1.0, 0.0, 1.5])[y]
    return np.exp(-0.5 * (x[:, None] - np.array([-1.0, 0.0, 1.5])) ** 2)


@pytest.mark.parametrize("pseudo_count", [0.0, 1.0, 5.0])
def test_priors_maximize_the_penalized_likelihood(pseudo_count):
    likelihood, uniform = make_likelihood(), np.full(3, 1 / 3)
    weight = np.random.default_rng(1).uniform(0, 3, len(likelihood))

    def loss(z):
        prior = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        return -(weight @ np.log(likelihood @ prior)) - pseudo_count * np.log(prior).sum()

    z = minimize(loss, np.zeros(3), tol=1e-12).x
    expected = np.exp(z) / np.exp(z).sum()
    priors = estimate_class_priors(
        likelihood, uniform, weight=weight, pseudo_count=pseudo_count, tolerance=1e-9
    )
    np.testing.assert_allclose(priors, expected, atol=1e-4)
    assert priors.sum() == pytest.approx(1)


def test_a_weight_of_two_is_the_row_twice():
    likelihood, uniform = make_likelihood(40), np.full(3, 1 / 3)
    weight = np.where(np.arange(40) < 10, 2.0, 1.0)
    copies = likelihood[np.repeat(np.arange(40), weight.astype(int))]
    np.testing.assert_allclose(
        estimate_class_priors(likelihood, uniform, weight=weight, pseudo_count=1.0),
        estimate_class_priors(copies, uniform, pseudo_count=1.0),
    )


def test_a_prior_of_0_stays_0_and_factors_per_row_do_not_matter():
    likelihood = make_likelihood()
    initial = np.array([0.5, 0.5, 0.0])
    priors = estimate_class_priors(likelihood, initial)
    assert priors[2] == 0
    factors = np.random.default_rng(0).uniform(0.1, 9, (len(likelihood), 1))
    np.testing.assert_allclose(estimate_class_priors(likelihood * factors, initial), priors)


def test_iterations_are_limited():
    likelihood, uniform = make_likelihood(), np.full(3, 1 / 3)
    once = estimate_class_priors(likelihood, uniform, max_iter=1)
    np.testing.assert_allclose(once, (likelihood / likelihood.sum(1, keepdims=True)).mean(0))
