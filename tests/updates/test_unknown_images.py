"""Flags by the chosen score: their rate on known classes, and what is far from everything."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.saved_classifier import FeatureSet
from ilk.core.data import Data
from ilk.maths.gaussian import compute_statistics
from ilk.methods.gda import GDA
from ilk.trust.known_rows import KnownRows
from ilk.trust.unknown_scores import list_unknown_scores
from ilk.trust.unknown_scores.energy import Energy
from ilk.trust.unknown_scores.nearest_neighbor import NearestNeighbor
from ilk.updates.unknown_images import (
    cross_validate_unknown_score,
    flag_unknown,
    read_known_rows,
)

CORNERS = 4 * np.random.default_rng(5).standard_normal((8, 6))


def draw(rng, classes, n):
    y = rng.choice(classes, n)
    return (CORNERS[y] + rng.standard_normal((n, 6))).astype(np.float32), y


@pytest.fixture(scope="module")
def classifier():
    x, y = draw(np.random.default_rng(0), range(5), 500)
    return FeatureSet.from_data(Data(x, y, tuple("abcde"))).fit(GDA())


@pytest.mark.parametrize("score", [*list_unknown_scores(), None])
def test_at_most_the_stated_rate_of_known_images_is_flagged(classifier, score):
    x, _ = draw(np.random.default_rng(1), range(5), 4000)
    rate = flag_unknown(classifier, x, score).is_unknown.mean()
    assert 0.01 < rate < 0.075  # 5 %, and the threshold itself varies by 1 point


def test_what_is_far_from_everything_is_flagged_although_the_score_lets_it_pass(classifier):
    """Energy is low far out: every image there looks much like some class."""
    far = (100 * CORNERS[:1] + np.zeros((5, 6))).astype(np.float32)
    known, _ = draw(np.random.default_rng(1), range(5), 500)
    scorer = Energy().fit(read_known_rows(classifier))
    assert scorer(far).max() < np.median(scorer(known))
    assert flag_unknown(classifier, far, Energy()).is_unknown.all()


def test_out_of_fold_scores_are_those_of_a_fit_without_the_fold(classifier):
    """All rows are stored here, so that statistics are those of the rows."""
    known = read_known_rows(classifier)
    assert len(known.y) == 500
    scores = cross_validate_unknown_score(NearestNeighbor(), known, 500)
    unit = known.x / np.linalg.norm(known.x, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -1)
    assert (scores >= 1 - cosines.max(1) - 1e-6).all()  # no row is its own neighbour
    assert scores.min() > 1e-9
    energies = cross_validate_unknown_score(Energy(), known, 500)
    own = Energy().fit(known)(known.x)
    assert energies.mean() > own.mean()  # in-sample scores are too small
    rows = np.arange(500) < 400
    part = compute_statistics(known.x[rows], known.y[rows], 5)
    fitted = Energy().fit(KnownRows(part, known.x[rows], known.y[rows]))(known.x[~rows])
    assert np.corrcoef(fitted, energies[~rows])[0, 1] > 0.95


def test_a_detector_that_flags_nothing_stays_silent(classifier):
    from ilk.trust.out_of_distribution import NO_THRESHOLD

    silent = replace(
        classifier, ood_detector=replace(classifier.ood_detector, threshold=NO_THRESHOLD)
    )
    result = flag_unknown(silent, 100 * np.ones((3, 6), np.float32))
    assert not result.is_unknown.any()
    assert result.choice.score.is_default


def test_new_classes_are_flagged_by_the_chosen_score(classifier):
    x, _ = draw(np.random.default_rng(2), range(5, 8), 300)
    result = flag_unknown(classifier, x)
    assert set(result.choice.auroc) == {score.label for score in list_unknown_scores()}
    assert result.is_unknown.mean() > 0.9


def test_a_class_of_one_image_is_known_by_that_image():
    rng = np.random.default_rng(3)
    x, y = draw(rng, range(5), 300)
    lone = CORNERS[7:8].astype(np.float32)
    data = Data(np.concatenate([x, lone]), np.append(y, 5), tuple("abcdef"))
    model = FeatureSet.from_data(data).fit(GDA())
    known = read_known_rows(model)
    assert model.summary_statistics is not None
    assert 5 not in model.summary_statistics.y
    np.testing.assert_allclose(known.x[known.y == 5], lone, rtol=1e-5)
    near = lone + 0.1 * rng.standard_normal((20, 6)).astype(np.float32)
    assert not flag_unknown(model, near, NearestNeighbor()).is_unknown.any()


def test_groups_of_rows_have_one_vote_and_stay_together():
    """Groups of ten copies: without them every held-out row has its copy among the known ones."""
    rng = np.random.default_rng(4)
    x, y = draw(rng, range(5), 60)
    x, y, group = (np.repeat(part, 10, axis=0) for part in (x, y, np.arange(60)))
    x = x + 0.01 * rng.standard_normal(x.shape).astype(np.float32)
    known = KnownRows.from_rows(x, y, 5)
    apart = cross_validate_unknown_score(NearestNeighbor(), known, 600)
    together = cross_validate_unknown_score(NearestNeighbor(), known, 600, group)
    assert np.median(together) > 20 * np.median(apart)
