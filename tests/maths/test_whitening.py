"""Roots of covariances."""

from __future__ import annotations

import numpy as np

from ilk.maths.whitening import shrink_to_identity, take_inverse_root


def test_the_root_whitens() -> None:
    x = np.random.default_rng(0).normal(size=(400, 5)) @ np.diag([5, 2, 1, 0.5, 0.1])
    covariance = np.cov(x.T)
    root = take_inverse_root(covariance)
    np.testing.assert_allclose(root @ covariance @ root, np.eye(5), atol=1e-8)
    np.testing.assert_allclose(np.cov((x @ root).T), np.eye(5), atol=1e-8)


def test_shrinking_keeps_the_trace_and_zeros_give_the_identity() -> None:
    covariance = np.diag([4.0, 2.0, 0.0])
    shrunk = shrink_to_identity(covariance, 0.25)
    np.testing.assert_allclose(np.diag(shrunk), [3.5, 2.0, 0.5])
    np.testing.assert_array_equal(take_inverse_root(np.zeros((3, 3))), np.eye(3))
    assert np.isfinite(take_inverse_root(covariance)).all()
