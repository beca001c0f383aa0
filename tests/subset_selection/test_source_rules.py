"""Rules that rank a source for a target, against second derivations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from ilk.core.data import Data
from ilk.subset_selection.selectors.color_filter import (
    ColorFilter,
    Mixture,
    compute_loss_reduction,
)
from ilk.subset_selection.selectors.nearest_target import NearestTarget
from ilk.subset_selection.selectors.selector import standardize
from ilk.subset_selection.selectors.source_pruning import (
    SourcePruning,
    count_label_hits,
    map_features,
)
from ilk.subset_selection.selectors.target_discriminator import TargetDiscriminator


@pytest.fixture
def rows():
    rng = np.random.default_rng(1)
    y = np.repeat(np.arange(4), [25, 15, 20, 10])
    means = 4 * rng.standard_normal((4, 3))
    x = (means[y] + rng.standard_normal((70, 3))).astype(np.float32)
    t = np.concatenate([means[2] + 0.3 * rng.standard_normal((9, 3)), means[0][None]]).astype(
        np.float32
    )
    return Data(x, y, tuple("abcd")), Data(t, np.full(10, -1), tuple("abcd"))


def test_label_hits_count_the_classes_that_target_rows_are_taken_for():
    p = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1]])
    use = count_label_hits(p)
    np.testing.assert_array_equal(np.floor(use), [1, 2, 0])
    np.testing.assert_allclose(use % 1, p.mean(0) / 2)


def test_label_mapping_keeps_classes_whole_those_with_most_hits_first(rows):
    source, target = rows
    scores = SourcePruning(mapping="label").score(source, target, 0)
    order = source.y[np.argsort(-scores)]
    assert (order[:20] == 2).all()  # nine hits
    assert (order[20:45] == 0).all()  # one hit
    assert len(set(order[45:60])) < 3  # a class ends before the next begins


def test_feature_mapping_counts_the_nearest_cluster_mean(rows):
    source, target = rows
    x, t = (z.astype(np.float32) for z in standardize(source.x, target.x))
    part, use = map_features(x, t, 5, 0)
    means = np.stack([x[part == c].mean(0) for c in range(5)])
    nearest = [int(np.argmin(((row - means) ** 2).sum(1))) for row in t]
    hits = [nearest.count(c) for c in range(5)]
    np.testing.assert_array_equal(np.ceil(use), hits)


def test_without_labels_clusters_take_the_place_of_classes(rows):
    source, target = rows
    hidden = replace(source, y=np.full(70, -1))
    automatic = SourcePruning().score(hidden, target, 0)
    np.testing.assert_array_equal(
        automatic, SourcePruning(mapping="feature").score(source, target, 0)
    )


def test_losses_of_a_mixture_are_those_of_its_densities(rows):
    x = rows[0].x.astype(float)
    mixture = Mixture.from_parts(x, rows[0].y)
    log_joint = [
        np.log(np.mean(rows[0].y == c))
        + multivariate_normal.logpdf(x, x[rows[0].y == c].mean(0), np.diag(mixture.variance))
        for c in range(4)
    ]
    np.testing.assert_allclose(mixture.compute_loss(x), -logsumexp(log_joint, axis=0))


def test_tuning_is_a_maximization_step_with_the_prior_as_further_rows(rows):
    x, t = rows[0].x.astype(float), rows[1].x.astype(float)
    prior = Mixture.from_parts(x, rows[0].y)
    tuned = prior.adapt(t, 6.0)
    share = np.exp(prior.compute_log_joint(t) + prior.compute_loss(t)[:, None])
    # six virtual rows at each mean, and six in all for the weights
    for c in range(4):
        values = np.concatenate([t, np.repeat(prior.means[c][None], 6, 0)])
        weights = np.concatenate([share[:, c], np.ones(6)])
        np.testing.assert_allclose(tuned.means[c], np.average(values, axis=0, weights=weights))
    expected = (share.sum(0) + 6 * np.exp(prior.log_weight)) / (10 + 6)
    np.testing.assert_allclose(np.exp(tuned.log_weight), expected)
    assert tuned.compute_loss(t).mean() < prior.compute_loss(t).mean()


def test_with_one_component_the_score_is_the_discriminant_of_two_gaussians(rows):
    """Without the prior's pull the tuned mean is the target's: a linear score with shared scale."""
    source = replace(rows[0], y=np.zeros(70, np.int64), classes=("a",))
    scores = ColorFilter(relevance=1e-9).score(source, rows[1], 0)
    x, t = standardize(source.x, rows[1].x)
    first, second = x.mean(0), t.mean(0)
    variance = 0.9 * x.var(0) + 0.1 * x.var(0).mean()
    expected = ((x - (first + second) / 2) * (second - first) / variance).sum(1)
    np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-6)


def test_a_prior_that_cannot_move_gives_no_loss_reduction(rows):
    scores = ColorFilter(relevance=1e9).score(*rows, 0)
    assert np.abs(scores).max() < 1e-6


def test_losses_come_in_pairs():
    np.testing.assert_array_equal(compute_loss_reduction([3.0, 1.0], [1.0, 2.0]), [2.0, -1.0])
    with pytest.raises(ValueError, match="shapes"):
        compute_loss_reduction([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="finite"):
        compute_loss_reduction([np.inf], [1.0])


def test_similarity_to_the_target_is_the_mean_of_the_nearest_cosines(rows):
    x, t = standardize(rows[0].x, rows[1].x)
    cosine = (x @ t.T) / np.outer(np.linalg.norm(x, axis=1), np.linalg.norm(t, axis=1))
    expected = np.sort(cosine, axis=1)[:, -3:].mean(1)
    np.testing.assert_allclose(NearestTarget(neighbours=3).score(*rows, 0), expected, atol=1e-6)
    np.testing.assert_allclose(
        NearestTarget(neighbours=99).score(*rows, 0), cosine.mean(1), atol=1e-6
    )


def test_the_discriminator_is_a_weighted_logistic_regression(rows):
    from sklearn.linear_model import LogisticRegression

    x, t = standardize(rows[0].x, rows[1].x)
    both, y = np.concatenate([x, t]), np.repeat([0, 1], [70, 10])
    C = 2 / both.astype(np.float32).var(0, dtype=np.float64).mean()  # one vector for two
    reference = LogisticRegression(C=C, tol=1e-10, max_iter=5000)
    reference.fit(both, y, sample_weight=np.where(y, 7.0, 1.0))
    scores = TargetDiscriminator().score(*rows, 0)
    np.testing.assert_allclose(scores, reference.decision_function(x), atol=2e-3)


def test_classes_without_a_difference_in_use_are_still_kept_one_after_the_other(rows, monkeypatch):
    source, target = rows
    monkeypatch.setattr(SourcePruning, "_map_labels", lambda *_: np.zeros(4))
    order = source.y[np.argsort(-SourcePruning(mapping="label").score(source, target, 0))]
    assert (np.diff(order) != 0).sum() == 3


def test_rows_without_a_label_come_after_all_classes(rows, monkeypatch):
    source = replace(rows[0], y=np.where(np.arange(70) % 7 == 0, -1, rows[0].y))
    monkeypatch.setattr(SourcePruning, "_map_labels", lambda *_: np.arange(4.0))
    scores = SourcePruning(mapping="label").score(source, rows[1], 0)
    assert scores[source.y < 0].max() < scores[source.y >= 0].min()
