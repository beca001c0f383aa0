"""The discriminant of tracks against scikit-learn's, an eigenproblem, and two tracks by hand."""

import numpy as np
import pytest
from scipy.linalg import eigh
from sklearn.covariance import ledoit_wolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from ilk.core.errors import InputError
from ilk.maths.history_discriminant import (
    compute_track_means,
    compute_within_covariance,
    fit_history_discriminant,
    shrink_ledoit_wolf,
)


def make_tracks(seed=0, n_tracks=5, n=30, d=8):
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.repeat(np.arange(n_tracks), n))
    mixing = rng.standard_normal((d, d))
    x = (
        2 * rng.standard_normal((n_tracks, d))[label]
        + rng.standard_normal((len(label), d)) @ mixing
    )
    return x, label


def test_shrinkage_is_that_of_scikit_learn():
    for n, d in ((4, 10), (40, 6), (2, 3)):
        x = np.random.default_rng(n).standard_normal((n, d)) * np.arange(1, d + 1)
        x -= x.mean(0)
        expected = ledoit_wolf(x, assume_centered=True)[0]
        np.testing.assert_allclose(shrink_ledoit_wolf(x), expected, rtol=1e-10)


def test_the_within_covariance_is_that_of_scikit_learn():
    x, label = make_tracks()
    x, label = x[20:], label[20:]  # tracks of different lengths
    other = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(x, label)
    np.testing.assert_allclose(compute_within_covariance(x, label), other.covariance_, rtol=1e-9)


def test_axes_solve_the_generalized_eigenproblem_with_recency():
    x, label = make_tracks(1)
    weight = 0.9 ** np.random.default_rng(0).permutation(len(x)).astype(float)
    projection = fit_history_discriminant(x, label, weight)
    within, counts = compute_within_covariance(x, label), np.bincount(label)
    means = np.stack(
        [np.average(x[label == c], axis=0, weights=weight[label == c]) for c in range(5)]
    )
    centred = means - counts @ means / counts.sum()
    values, vectors = eigh((centred.T * counts) @ centred, within)
    np.testing.assert_allclose(projection.strength, values[::-1][:4], rtol=1e-6)
    cosines = np.abs((projection.axes * (within @ vectors[:, ::-1][:, :4])).sum(0))
    np.testing.assert_allclose(cosines, 1.0, rtol=1e-6)
    np.testing.assert_allclose(compute_track_means(x, label, weight), means, rtol=1e-10)


def test_two_tracks_differ_along_one_known_axis():
    x, label = make_tracks(2, n_tracks=2)
    axis = fit_history_discriminant(x, label).axes[:, 0]
    expected = np.linalg.solve(
        compute_within_covariance(x, label), x[label == 0].mean(0) - x[label == 1].mean(0)
    )
    assert abs(axis @ expected) / np.linalg.norm(axis) / np.linalg.norm(expected) > 1 - 1e-6


def test_more_tracks_than_features_give_as_many_axes_as_features():
    x, label = make_tracks(3, n_tracks=12, d=4)
    assert fit_history_discriminant(x.astype(np.float32), label).axes.shape == (4, 4)


def test_history_without_spread_is_refused():
    with pytest.raises(InputError, match="two tracks"):
        fit_history_discriminant(np.eye(3), np.zeros(3, np.int64))
    with pytest.raises(InputError, match="two different rows"):
        fit_history_discriminant(np.eye(3), np.arange(3))
