"""Figures of merit against scikit-learn, scipy and what must hold of any such figure."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as other

from ilk.core import metrics


def answers(n=400, k=5, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(k), n)
    y = np.array([rng.choice(k, p=row) for row in p])
    return y, p


def test_scores_are_scikit_learns():
    y, p = answers()
    got = metrics.score(y, p)
    assert got.n == 400
    assert got.accuracy.value == pytest.approx(other.accuracy_score(y, p.argmax(1)))
    assert got.macro_accuracy == pytest.approx(other.balanced_accuracy_score(y, p.argmax(1)))
    assert got.log_loss == pytest.approx(other.log_loss(y, p))


@pytest.mark.parametrize(("hits", "n"), [(0, 7), (3, 7), (7, 7), (995, 1000), (1, 1)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_is_scipys(hits, n, level):
    got = metrics.wilson_interval(hits, n, level)
    ours = binomtest(hits, n).proportion_ci(level, method="wilson")
    assert (got.low, got.high) == pytest.approx((ours.low, ours.high), abs=1e-12)
    assert got.low <= got.value <= got.high


def test_wilson_of_nothing_says_nothing():
    got = metrics.wilson_interval(0, 0)
    assert (got.low, got.high) == (0, 1)
    assert np.isnan(got.value)


def test_calibration_error_is_the_definition_in_a_loop():
    y, p = answers()
    error = 0.0
    for b in range(15):
        held = [i for i in range(len(y)) if int(min(14, p[i].max() * 15)) == b]
        if held:
            stated = sum(p[i].max() for i in held) / len(held)
            right = sum(p[i].argmax() == y[i] for i in held) / len(held)
            error += len(held) / len(y) * abs(stated - right)
    assert metrics.calibration_error(y, p) == pytest.approx(error)


def test_calibration_error_is_small_for_true_probabilities_and_large_for_boasts():
    y, p = answers(20_000)
    assert metrics.calibration_error(y, p) < 0.02
    boast = np.eye(5)[p.argmax(1)]
    wrong = 1 - metrics.accuracy(y, p.argmax(1)).value
    assert metrics.calibration_error(y, boast) == pytest.approx(wrong)


def test_reliability_holds_every_row_and_certainty_falls_in_the_last_bin():
    y, p = answers()
    assert sum(n for _, _, n in metrics.reliability_curve(y, p)) == len(y)
    assert metrics.reliability_curve(np.array([0]), np.array([[1.0, 0.0]])) == [(1.0, 1.0, 1)]


def test_macro_accuracy_does_not_see_how_many_rows_a_class_has():
    y, answer = np.array([0] * 90 + [1] * 10), np.zeros(100, int)
    assert metrics.accuracy(y, answer).value == 0.9
    assert metrics.macro_accuracy(y, answer) == 0.5


def test_a_zero_probability_of_the_truth_costs_much_but_not_everything():
    got = metrics.log_loss(np.array([0, 1]), np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert got == pytest.approx(-np.log(1e-15) / 2)


def test_no_row_cannot_be_scored():
    with pytest.raises(ValueError, match="no labelled row"):
        metrics.score(np.zeros(0, int), np.zeros((0, 3)))


def test_finite_keeps_minus_infinity_and_refuses_nan():
    z = np.array([[0, -np.inf]], np.float32)
    assert metrics.check_finite(z).dtype == np.float64
    with pytest.raises(FloatingPointError, match="1 rows of logits are nan"):
        metrics.check_finite(np.array([[0, np.nan], [0, 1]]))
