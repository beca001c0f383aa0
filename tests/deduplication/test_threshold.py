"""The score from which on pictures count as the same, and what is found with it."""

from __future__ import annotations

import numpy as np
import pytest

from ilk.deduplication.calibration import Calibration, _count_nearer, _fit, _list_neighbours
from ilk.deduplication.recall import estimate_recall
from ilk.deduplication.score import fit_score
from ilk.deduplication.threshold import Threshold, choose_threshold, fit_wrong_tail
from ilk.maths.nearest_rows import to_unit
from ilk.maths.pareto_tail import fit_tail


def make_calibration(copies, different, **fields):
    n = len(copies)
    values = {
        "kinds": ("mirrored",) * n,
        "cosines": np.ones(n),
        "ranks": np.zeros(n, np.int64),
        "min_cosine": 0.5,
        **fields,
    }
    zero = np.zeros(5)
    return Calibration(
        zero, zero + 1, zero, 0.0, values["kinds"], np.asarray(copies, float), values["cosines"],
        values["ranks"], np.asarray(different, float), values["min_cosine"], 0.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def world():
    """1500 wrong pairs with an exponential tail from 0 on, and 100 copies far above."""
    rng = np.random.default_rng(0)
    wrong = rng.exponential(1.0, 1500) - 1.5
    copies = rng.normal(20, 1, 300)
    different = rng.exponential(1.0, 400) - 1.5
    return wrong, copies, different, np.concatenate([wrong, rng.normal(20, 1, 100)])


def test_where_copies_score_much_higher_the_threshold_is_what_nearly_all_reach(world):
    _, copies, different, scores = world
    found = choose_threshold(scores, make_calibration(copies, different), 1.0)
    assert found.score == pytest.approx(np.quantile(copies, 0.02))
    assert (copies >= found.score).mean() == pytest.approx(0.98)
    assert 0 <= found.expected < 0.01  # far fewer wrong ones than are allowed
    assert found.n_candidates == 1600
    assert found.share_of_copies == pytest.approx(100 / 1600, rel=0.2)


@pytest.mark.parametrize("allowed", [0.1, 10.0])
def test_where_copies_score_low_the_wrong_matches_decide(world, allowed):
    wrong, _, different, _ = world
    copies = np.linspace(0, 3, 300)
    found = choose_threshold(wrong, make_calibration(copies, different), allowed)
    assert found.score > np.quantile(copies, 0.02)
    assert found.expected == pytest.approx(allowed, rel=1e-3)
    assert found.false_matches == allowed


def test_the_tail_begins_at_a_quantile_of_different_pictures(world):
    _, copies, different, scores = world
    tail = fit_wrong_tail(scores, make_calibration(copies, different))
    assert tail.start == pytest.approx(np.quantile(different, 0.8))
    assert tail.count == (scores >= tail.start).sum()
    alone = fit_wrong_tail(scores, make_calibration(copies, []))
    assert alone.start == pytest.approx(np.quantile(scores, 0.8))


def test_the_model_is_checked_on_pairs_that_did_not_determine_it(world):
    _, copies, different, scores = world
    calibration = make_calibration(copies, different)
    found = [choose_threshold(scores, calibration, 1.0, seed) for seed in range(6)]
    assert all(len(one.checks) == 3 for one in found)
    for level in range(3):
        expected = sum(one.checks[level].expected for one in found)
        seen = sum(one.checks[level].seen for one in found)
        assert expected == pytest.approx(seen, rel=0.4)  # the copies above are none of them
    assert choose_threshold(scores[:60], calibration, 1.0).checks == ()


def test_further_wrong_pairs_help_to_find_the_law_and_are_not_counted():
    """Where there are few candidates, pairs known to be different give the tail its length."""
    rng = np.random.default_rng(0)
    own, others = rng.exponential(1.0, 12), rng.exponential(1.0, 3000)
    right = np.array([50.0, 51.0])
    with_others, alone = fit_tail(own, right, 0.0, others), fit_tail(own, right, 0.0)
    assert with_others.count == alone.count == 12
    expected = np.log(12 / 0.05)  # of an exponential law with mean 1
    assert with_others.find_threshold(0.05) == pytest.approx(expected, rel=0.2)


def test_recall_is_the_share_of_made_copies_that_every_step_lets_through():
    calibration = make_calibration(
        [5, 5, 5, 1, 5, 5],
        [0.0],
        kinds=("mirrored",) * 4 + ("recoloured",) * 2,
        cosines=np.array([0.9, 0.4, 0.9, 0.9, 0.9, 0.9]),
        ranks=np.array([0, 0, 6, 0, 5, 5]),
    )
    found = estimate_recall(calibration, Threshold(2.0, 1.0, 0.5, 10, 0.0, ()))
    assert found == {"mirrored": 0.25, "recoloured": 1.0}


def test_pictures_nearer_than_the_original_are_counted_without_it():
    rows = to_unit(np.array([[1, 0], [1, 0.1], [1, 1], [0, 1]], np.float32))
    x = rows[[1, 3]]
    own = np.einsum("ij,ij->i", x, rows[[1, 2]]).astype(np.float64)
    assert _count_nearer(x, rows, own).tolist() == [0, 1]


def test_the_neighbours_of_a_picture_are_others(monkeypatch):
    class Rows:
        x = to_unit(np.array([[1, 0], [1, 0.1], [1, 0.3], [0, 1]], np.float32))

    pairs = _list_neighbours(Rows(), np.array([0, 1]))
    assert pairs.tolist() == [[0, 1], [0, 2], [1, 2]]  # 0 with 1 once


def test_pairs_that_look_like_copies_are_taken_out_of_the_different_ones():
    rng = np.random.default_rng(0)
    copies, different = rng.normal(2, 0.5, (60, 5)), rng.normal(-2, 0.5, (60, 5))
    different[:5] = rng.normal(2, 0.5, (5, 5))  # copies that the folder holds already
    *_, kept = _fit(copies, different)
    assert kept.tolist() == [False] * 5 + [True] * 55


def test_agreement_never_counts_against_a_pair():
    """But the share of the picture may count either way."""
    rng = np.random.default_rng(0)
    copies, different = rng.normal(0, 1, (80, 5)), rng.normal(0, 1, (80, 5))
    copies[:, 0] += 2
    copies[:, 1] -= 1
    copies[:, 3] -= 1
    weight, _ = fit_score(copies, different)
    assert weight[0] > 0
    assert weight[1] == 0
    assert weight[3] < 0
