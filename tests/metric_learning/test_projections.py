"""Closed-form embeddings: what whitening and discriminants are, on data whose answer is known."""

import numpy as np

from ilk.maths.retrieval import map_at_r
from ilk.metric_learning.projections import fit_lda, fit_whitening
from ilk.metric_learning.training import embed_rows


def make_rows(n=1800, seed=0):
    """Six classes on two axes, under more variance on six others that means nothing."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 6
    angle = y * np.pi / 3
    x = np.concatenate(
        [
            np.stack([np.cos(angle), np.sin(angle)], 1) + 0.2 * rng.normal(size=(n, 2)),
            1.5 * rng.normal(size=(n, 6)),
        ],
        1,
    )
    return x.astype(np.float32), y


def project(head, x):
    """Before the scaling to unit length."""
    return (x - head.centre.numpy()) @ head.linear.weight.detach().numpy().T


def test_whitened_training_rows_have_one_variance_and_no_correlation():
    x, _ = make_rows()
    covariance = np.cov(project(fit_whitening(x, 8), x).T)
    np.testing.assert_allclose(covariance / covariance[0, 0], np.eye(8), atol=0.05)


def test_discriminants_are_white_within_classes():
    x, y = make_rows()
    z = project(fit_lda(x, y, 8), x)
    within = sum(np.cov(z[y == c].T) for c in range(6)) / 6
    np.testing.assert_allclose(within, np.eye(8), atol=0.2)  # the covariance is shrunk


def test_discriminants_serve_classes_that_were_not_seen():
    x, y = make_rows()
    seen = y < 4
    scores = {
        name: map_at_r(embed_rows(head, x[~seen]), y[~seen])
        for name, head in (
            ("lda", fit_lda(x[seen], y[seen], 2)),
            ("whitening", fit_whitening(x[seen], 2)),
        )
    }
    assert scores["lda"] > 0.9
    assert scores["whitening"] < 0.7
    assert map_at_r(x[~seen], y[~seen]) < 0.7
