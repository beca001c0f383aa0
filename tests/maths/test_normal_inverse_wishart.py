"""The normal-inverse-Wishart prior: what it says of rows one by one it says of them together."""

import numpy as np
import pytest
from scipy.stats import multivariate_t

from ilk.maths.normal_inverse_wishart import (
    GroupStatistics,
    NormalInverseWishart,
    fit_prior,
    student_log_pdf,
)


def prior(r=3):
    mix = np.random.default_rng(5).standard_normal((r, r))
    return NormalInverseWishart(0.3, r + 4.5, mix @ mix.T + np.eye(r))


def test_rows_together_are_rows_one_after_the_other():
    z = np.random.default_rng(0).standard_normal((7, 3)) + 1
    p, told = prior(), 0.0
    for i in range(len(z)):
        before = GroupStatistics.from_rows(z[:i], np.zeros(i, int), 1)
        told += student_log_pdf(z[i : i + 1], *p.compute_predictive(before))[0, 0]
    whole = p.compute_log_evidence(GroupStatistics.from_rows(z, np.zeros(7, int), 1))[0]
    assert whole == pytest.approx(told, rel=1e-12)
    assert p.compute_log_evidence(GroupStatistics.from_rows(z[:0], np.zeros(0, int), 1))[
        0
    ] == pytest.approx(0, abs=1e-12)


def test_the_next_row_is_student_distributed():
    z, p = np.random.default_rng(1).standard_normal((6, 3)), prior()
    n, mean = len(z), z.mean(0)
    kappa, nu = p.kappa + n, p.nu + n
    psi = p.psi + n * np.cov(z.T, bias=True) + p.kappa * n / kappa * np.outer(mean, mean)
    scale = psi * (kappa + 1) / (kappa * (nu - 2))
    twin = multivariate_t(n / kappa * mean, scale, df=nu - 2).logpdf(z)
    ours = student_log_pdf(
        z, *p.compute_predictive(GroupStatistics.from_rows(z, np.zeros(n, int), 1))
    )[:, 0]
    np.testing.assert_allclose(ours, twin, rtol=1e-10)


def test_groups_merged_are_the_group_of_all_rows():
    z = np.random.default_rng(2).standard_normal((20, 3))
    answer = np.repeat([0, 1, 2], [4, 10, 6])
    members = GroupStatistics.from_rows(z, answer, 3)
    both = members.merge_pairs(np.array([0]), np.array([2]))
    whole = GroupStatistics.from_rows(z[answer != 1], np.zeros(10, int), 1)
    for name in ("counts", "means", "scatter"):
        np.testing.assert_allclose(getattr(both, name), getattr(whole, name), atol=1e-12)


def test_the_prior_learns_how_far_means_lie_and_how_alike_covariances_are():
    rng = np.random.default_rng(3)
    y = np.repeat(np.arange(40), 30)
    far = 10 * rng.standard_normal((40, 4))[y] + rng.standard_normal((len(y), 4))
    near = 1 * rng.standard_normal((40, 4))[y] + rng.standard_normal((len(y), 4))
    found = [fit_prior(GroupStatistics.from_rows(z, y, 40), np.eye(4)) for z in (far, near)]
    assert found[0].kappa == pytest.approx(0.01)
    assert found[1].kappa == pytest.approx(1)
    scales = np.exp(rng.standard_normal((40, 4)))[y]
    unlike = fit_prior(GroupStatistics.from_rows(near * scales, y, 40), 3 * np.eye(4))
    assert unlike.nu < found[1].nu
    np.testing.assert_allclose(found[0].expected_covariance, np.eye(4))
