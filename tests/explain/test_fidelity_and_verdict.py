"""Insertion minus deletion, its controls, and the verdict, on evidence that is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from helpers.planted_classifier import GREEN, RED, draw_image, make_classifier, make_mask
from ilk.explain.controls import draw_random_map, make_centre_map, make_edge_map
from ilk.explain.fidelity import N_STEPS, measure_fidelity, rank_pixels
from ilk.explain.question import ask
from ilk.explain.verdict import (
    LEVEL,
    N_RANDOM,
    NOT_HERE,
    judge,
    measure_controls,
)


@pytest.fixture(scope="module")
def subject():
    return ask(make_classifier(), draw_image())[0]


@pytest.fixture(scope="module")
def controls(subject):
    return measure_controls(subject)


def smooth(mask):
    """Return a mask with a gradient inside and outside, so that ranks are clear."""
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    middle = np.argwhere(mask).mean(0)
    return (-np.hypot(y - middle[0], x - middle[1])).astype(np.float32)


def test_ranks_begin_with_the_largest_value_and_ties_are_not_taken_row_by_row():
    values = np.zeros((10, 10), np.float32)
    values[3, 4] = 2.0
    rank = rank_pixels(values)
    assert rank[3, 4] == 0
    assert np.abs(rank[:5].mean() - rank[5:].mean()) < 0.3
    assert sorted((rank * 100).round().astype(int).ravel()) == list(range(100))


def test_the_score_is_the_difference_of_the_areas_by_the_trapezoid_rule(subject):
    values = smooth(make_mask(RED))
    fidelity = measure_fidelity(subject, values)
    rank, areas = rank_pixels(values), []
    for fill in ("blur", "mean"):
        shares = np.linspace(0, 1, N_STEPS + 1)
        kept = np.stack([rank < q for q in shares])
        insertion, deletion = subject.score_masks(kept, fill), subject.score_masks(~kept, fill)
        areas.append(np.trapezoid(insertion, shares) - np.trapezoid(deletion, shares))
    assert fidelity.score == pytest.approx(np.mean(areas))
    np.testing.assert_allclose(fidelity.by_baseline, areas)


def test_the_inverted_map_has_minus_the_score(subject):
    values = draw_random_map(subject.shape, np.random.default_rng(5))
    score = measure_fidelity(subject, values).score
    assert measure_fidelity(subject, -values).score == pytest.approx(-score, abs=0.01)


def test_the_map_of_the_evidence_is_trusted_and_says_so(subject, controls):
    values = smooth(make_mask(RED))
    verdict = judge(values, measure_fidelity(subject, values), subject, controls)
    assert verdict.is_trustworthy, verdict.sentence
    assert verdict.sentence.startswith("Trustworthy here")
    assert verdict.interval[0] > 0
    assert verdict.score > max(verdict.controls["centre"], verdict.controls["edges"])


@pytest.mark.parametrize("place", [GREEN, (slice(36, 48), slice(36, 48))])
def test_the_map_of_another_place_is_refused(subject, controls, place):
    values = smooth(make_mask(place))
    verdict = judge(values, measure_fidelity(subject, values), subject, controls)
    assert not verdict.is_trustworthy
    assert verdict.sentence.startswith(NOT_HERE)


def test_random_maps_are_refused_at_the_stated_rate(subject, controls):
    rng = np.random.default_rng(11)
    fields = [draw_random_map(subject.shape, rng) for _ in range(150)]
    measured = [measure_fidelity(subject, field) for field in fields]
    scores = np.array([fidelity.score for fidelity in measured])
    n_passed = 0
    for _ in range(1500):
        chosen = rng.choice(len(fields), N_RANDOM + 1, replace=False)
        drawn = replace(controls, random=scores[chosen[1:]])
        i = chosen[0]
        n_passed += judge(fields[i], measured[i], subject, drawn).is_trustworthy
    assert n_passed / 1500 < 1.4 * (1 - LEVEL), n_passed


def test_a_constant_map_and_an_image_without_evidence_are_refused(subject, controls):
    flat = np.ones(subject.shape, np.float32)
    verdict = judge(flat, measure_fidelity(subject, flat), subject, controls)
    assert "same value everywhere" in verdict.sentence
    grey = draw_image(red=(slice(0, 0), slice(0, 0)), green=None)
    blank = ask(make_classifier(), grey)[0]
    values = smooth(make_mask(RED))
    verdict = judge(values, measure_fidelity(blank, values), blank, measure_controls(blank))
    assert not verdict.is_trustworthy
    assert "hardly changes" in verdict.sentence


def test_a_map_that_knows_no_more_than_the_middle_of_the_image_is_refused():
    middle = (slice(18, 30), slice(18, 30))
    framed = ask(make_classifier(), draw_image(red=middle, green=None))[0]
    values = make_centre_map(framed.shape)
    fidelity, controls = measure_fidelity(framed, values), measure_controls(framed)
    assert fidelity.score > 0.3
    verdict = judge(values, fidelity, framed, controls)
    assert not verdict.is_trustworthy
    assert "the middle of the image would explain the answer as well" in verdict.sentence


def test_the_interval_is_that_of_student_about_random_scores_of_mean_0(subject, controls):
    values = smooth(make_mask(RED))
    fidelity = measure_fidelity(subject, values)
    scores = np.array([0.3, 0.1, 0.2, -0.1])
    verdict = judge(values, fidelity, subject, replace(controls, random=scores))
    low, high = verdict.interval
    assert (low + high) / 2 == pytest.approx(verdict.score)
    spread = np.sqrt((0.09 + 0.01 + 0.04 + 0.01) / 4)
    assert (high - low) / 2 == pytest.approx(t(df=4).ppf(0.95) * spread)
    of_ten = judge(values, fidelity, subject, replace(controls, random=scores), n_tried=10)
    assert of_ten.score - of_ten.interval[0] == pytest.approx(t(df=4).ppf(0.995) * spread)


def test_each_condition_alone_is_enough_to_refuse(subject, controls):
    values = smooth(make_mask(RED))
    good = measure_fidelity(subject, values)
    assert judge(values, good, subject, controls).is_trustworthy

    def refuse(**changes):
        verdict = judge(values, good, subject, replace(controls, **changes))
        assert not verdict.is_trustworthy
        return verdict.sentence

    loud = np.tile([good.score, -good.score], 4)
    assert "no more than removing random parts" in refuse(random=loud)
    assert "the middle of the image would explain" in refuse(centre=good.score)
    assert "all edges would explain" in refuse(edges=good.score + 0.1, centre=-1.0)
    value = subject.value
    assert "hardly changes" in refuse(emptied=(value - 0.01, value - 0.02))
    one_is_enough = replace(controls, emptied=(value - 0.01, value - 0.5))
    assert judge(values, good, subject, one_is_enough).is_trustworthy
    quiet = replace(controls, random=0.1 * controls.random)
    for row in (0, 1):
        half = good.deletion.copy()
        half[row] = good.insertion[row] + 0.01
        verdict = judge(values, replace(good, deletion=half), subject, quiet)
        assert "only one way of removing pixels" in verdict.sentence


def test_random_maps_differ_from_each_other_and_between_seeds(subject, controls):
    assert len(np.unique(controls.random)) == N_RANDOM
    other = measure_controls(subject, seed=1)
    assert not np.intersect1d(controls.random, other.random).size
    again = measure_controls(subject, seed=1)
    np.testing.assert_array_equal(again.random, other.random)


def test_the_best_of_several_maps_needs_more_evidence(subject, controls):
    values = smooth(make_mask(RED))
    fidelity = measure_fidelity(subject, values)
    alone = judge(values, fidelity, subject, controls)
    chosen = judge(values, fidelity, subject, controls, n_tried=10)
    assert chosen.interval[0] < alone.interval[0]


def test_costs_are_what_is_stated(subject):
    before = subject.n_passes
    measure_controls(subject)
    n_maps, n_empty = 8 + 2, 2  # random maps, centre and edges; one per baseline
    assert subject.n_passes - before == 16 * n_maps + n_empty
    before = subject.n_passes
    measure_fidelity(subject, smooth(make_mask()))
    assert subject.n_passes - before == 2 * 2 * 4  # baselines, curves, steps


def test_controls_are_what_they_are_called():
    centre = make_centre_map((9, 13))
    assert np.unravel_index(centre.argmax(), centre.shape) == (4, 6)
    picture = np.zeros((20, 20, 3), np.uint8)
    picture[:, 10:] = 200
    edges = make_edge_map(picture)
    assert set(np.flatnonzero(edges[5] > 0)) == {9, 10}
    assert edges[5, 9] == 800  # 4 times the step: Sobel's weights 1, 2, 1
    turned = make_edge_map(picture.transpose(1, 0, 2))
    np.testing.assert_allclose(turned, edges.T)
    corner = np.zeros((20, 20, 3), np.uint8)
    corner[10:, 10:] = 200
    ramp = np.add.outer(np.arange(20), np.zeros(20)).astype(np.uint8)[..., None].repeat(3, 2)
    assert make_edge_map(ramp)[5, 5] == 8  # 2 rows apart, weights of sum 4
    edges = make_edge_map(corner)
    np.testing.assert_allclose(edges, edges.T)
