"""The audit: a random sample, an exact interval, and no label that judges itself."""

import numpy as np
import pytest
from scipy.stats import binom

from ilk.labelling import learner
from ilk.labelling.audit import (
    MAX_SLICE,
    compute_exact_interval,
    count_reserved,
    find_slice,
    judge,
)
from ilk.labelling.items import draw_numbers
from ilk.labelling.learner import answer_left_out, choose_width, fit_snapshot, reduce_features


@pytest.mark.parametrize(("successes", "n"), [(7, 10), (1, 3), (49, 50)])
def test_exact_interval_leaves_half_of_the_error_on_each_side(successes, n):
    """Second derivation: at each bound, the tail of the binomial is 2.5 %."""
    interval = compute_exact_interval(successes, n)
    assert binom.sf(successes - 1, n, interval.low) == pytest.approx(0.025)
    assert binom.cdf(successes, n, interval.high) == pytest.approx(0.025)


def test_exact_interval_of_all_and_none():
    assert compute_exact_interval(12, 12).high == 1
    assert compute_exact_interval(12, 12).low == pytest.approx(0.025 ** (1 / 12))
    assert compute_exact_interval(0, 12).low == 0


def test_the_slice_ends_at_the_first_gap():
    is_answered = np.array([True, True, False, True, True])
    assert find_slice([3, 1, 2, 0, 4], is_answered) == [3, 1]
    assert find_slice([3, 1], is_answered) == [3, 1]
    assert find_slice([2, 3], is_answered) == [] == find_slice([], is_answered)


def test_numbers_of_images_are_uniform_and_keep_when_others_come():
    digests = [f"{i:064x}" for i in range(4000)]
    numbers = draw_numbers(digests, 0, "audit")
    assert draw_numbers(digests[100:200], 0, "audit") == numbers[100:200]
    assert abs(np.mean(numbers) - 0.5) < 0.02
    assert 0 <= min(numbers) <= max(numbers) < 1
    other = draw_numbers(digests, 0, "shared")
    assert abs(np.corrcoef(numbers, other)[0, 1]) < 0.05
    assert draw_numbers(digests, 1, "audit") != numbers


def test_reserved_images():
    assert [count_reserved(n) for n in (0, 1, 20, 100, 1000, 10**6)] == [0, 1, 10, 40, 200, 400]
    assert count_reserved(10**6) == MAX_SLICE


def test_judge_counts_what_is_right():
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    result = judge(np.array([0, 1, 1]), p, 2)
    assert result.accuracy.value == pytest.approx(2 / 3)
    assert result.n_unanswered == 2
    assert result.confidence == pytest.approx((0.9 + 0.8 + 0.6) / 3)
    assert result.log_loss == pytest.approx(-np.log([0.9, 0.8, 0.4]).mean())
    assert judge(np.zeros(0, np.int64), np.zeros((0, 2))) is None


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    means = 3 * rng.standard_normal((3, 20))
    return (means[y] + rng.standard_normal((300, 20))).astype(np.float32), y


def test_no_answer_depends_on_the_label_that_judges_it(rows):
    """Flipping the labels of one fold changes no answer for its rows, and others only a little."""
    x, y = rows
    known = np.where(np.arange(300) < 60, y, -1)
    audited = np.arange(20)
    before = answer_left_out(x, known, ("a", "b", "c"), audited)
    fold = audited % 10 == 3
    flipped = known.copy()
    flipped[audited[fold]] = (flipped[audited[fold]] + 1) % 3
    after = answer_left_out(x, flipped, ("a", "b", "c"), audited)
    np.testing.assert_array_equal(after[fold], before[fold])
    assert np.abs(after[~fold] - before[~fold]).max() > 0


def test_random_labels_are_judged_as_chance(rows):
    """Planted: labels without meaning. Only a model that saw them could be right more often."""
    x, _ = rows
    rng = np.random.default_rng(1)
    hits = []
    for _ in range(20):
        y = np.full(300, -1)
        y[:40] = rng.permutation(np.arange(40) % 2)
        snapshot = fit_snapshot(x, y, ("a", "b"), np.arange(40), 40)
        hits.append(judge(y[:40], snapshot.left_out_probabilities).accuracy.value)
        own = snapshot.probabilities[:40].argmax(1) == y[:40]
        assert own.mean() > 0.6  # what it has learned by heart
    assert abs(np.mean(hits) - 0.5) < 0.1


def test_snapshot_knows_classes_with_labels_only(rows):
    x, y = rows
    known = np.where(np.arange(300) < 60, y, -1)
    snapshot = fit_snapshot(x, known, ("a", "b", "c", "unused"), np.arange(10), 10)
    assert snapshot.probabilities.shape == (300, 4)
    np.testing.assert_allclose(snapshot.probabilities.sum(1), 1, rtol=1e-5)
    assert (snapshot.probabilities[:, 3] == 0).all()
    assert np.mean(snapshot.probabilities.argmax(1) == y) > 0.95
    assert fit_snapshot(x, np.where(known == 0, 0, -1), ("a",), np.zeros(0, np.int64)) is None


def test_what_is_learned_by_heart_makes_no_answer_sure(rows):
    """Labels without meaning: right on its own rows, and calibrated on rows that it left out."""
    x, _ = rows
    sureness = []
    for seed in range(10):
        y = np.full(300, -1)
        y[:60] = np.random.default_rng(seed).permutation(np.arange(60) % 2)
        snapshot = fit_snapshot(x, y, ("a", "b"), np.zeros(0, np.int64))
        sureness.append(snapshot.probabilities[60:].max(1).mean())
    assert np.mean(sureness) < 0.65


def test_few_audited_labels_do_not_calibrate_the_answers_that_they_judge(rows, monkeypatch):
    x, truth = rows
    y = np.where(np.arange(300) < 60, truth, -1)
    fit, used = learner.Calibration.fit, []

    def record(logits, labels):
        used.append(labels)
        return fit(logits, labels)

    monkeypatch.setattr(learner.Calibration, "fit", record)
    fit_snapshot(x, y, ("a", "b", "c"), np.arange(20), 20)
    [labels] = used
    np.testing.assert_array_equal(labels, y[20:60])


def test_a_class_of_one_audited_row_is_no_error(rows):
    x, _y = rows
    known = np.full(300, -1)
    known[:3] = [0, 0, 1]
    snapshot = fit_snapshot(x, known, ("a", "b"), np.arange(3), 3)
    assert np.isfinite(snapshot.left_out_probabilities).all()


def test_reduced_rows_keep_inner_products_and_directions(rows):
    rng = np.random.default_rng(2)
    low = rng.standard_normal((50, 5)) @ rng.standard_normal((5, 400))
    for n in (50, 30):
        reduced = reduce_features(low.astype(np.float32), fit_rows=n)
        assert reduced.shape[1] <= n
        np.testing.assert_allclose(reduced @ reduced.T, low @ low.T, rtol=1e-2, atol=1)
    tall = (rng.standard_normal((900, 5)) @ rng.standard_normal((5, 300))).astype(np.float32)
    reduced = reduce_features(tall)
    np.testing.assert_allclose(reduced @ reduced.T, tall @ tall.T, rtol=1e-2, atol=1)
    x, _ = rows
    assert reduce_features(x) is not None
    assert reduce_features(x).shape == (300, 20)
    assert [choose_width(n) for n in (10, 200, 10_000)] == [64, 100, 256]
