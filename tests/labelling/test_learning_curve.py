"""What more labels would buy."""

import numpy as np
import pytest

from ilk.core.metrics import Interval
from ilk.labelling.learning_curve import (
    STEPS,
    _describe,
    estimate_learning_curve,
    predict_gains,
)


def test_a_power_law_is_found_again():
    sizes = np.array([20, 30, 40, 60])
    errors = 2.0 * sizes**-0.5
    gains = predict_gains(sizes, errors, 60)
    expected = 2.0 * 60**-0.5 - 2.0 * (60 + np.array(STEPS)) ** -0.5
    np.testing.assert_allclose(gains, expected, rtol=1e-6)


def test_a_known_asymptote_is_taken_away():
    sizes = np.array([20, 30, 40, 60])
    errors = 0.1 + 2.0 * sizes**-0.5
    gains = predict_gains(sizes, errors, 60, 0.1 / errors.min())
    expected = 2.0 * 60**-0.5 - 2.0 * (60 + np.array(STEPS)) ** -0.5
    np.testing.assert_allclose(gains, expected, rtol=1e-6)


def test_errors_never_fall_faster_than_one_over_the_number_of_labels():
    sizes = np.array([20, 30, 40, 60])
    gains = predict_gains(sizes, 100.0 * sizes**-2.0, 60)
    expected = 1 - 60 / (60 + np.array(STEPS))
    np.testing.assert_allclose(gains / gains[0], expected / expected[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "sentence"),
    [
        (0.02, 0.06, "50 more labels would raise the accuracy by about 4 points (2 to 6)"),
        (0.0, 0.06, "by 6 points at most, and perhaps not at all"),
        (0.01, 0.17, "cannot be estimated yet"),
    ],
)
def test_the_sentence_says_what_the_interval_allows(low, high, sentence):
    step_25, other = (25, Interval(0.9, 0.8, 1.0)), Interval(0.04, low, high)
    told = _describe(((100, 0.8),), (step_25, (50, other), (100, other)))
    assert sentence in told.sentence
    assert told.measured == ((100, 0.8),)


def test_errors_that_do_not_fall_promise_nothing():
    sizes = np.array([20, 30, 40])
    np.testing.assert_allclose(predict_gains(sizes, np.array([0.2, 0.2, 0.2]), 40), 0, atol=1e-9)
    np.testing.assert_allclose(predict_gains(sizes, np.array([0.1, 0.2, 0.3]), 40), 0, atol=1e-9)


def make_rows(n, noise):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, n)
    x = np.eye(4, 60)[truth] * 3 + noise * rng.standard_normal((n, 60))
    return x.astype(np.float32), truth


def test_too_little_gives_no_curve():
    x, truth = make_rows(300, 1.0)
    y = np.where(np.arange(300) < 20, truth, -1)
    assert estimate_learning_curve(x, y, tuple("abcd"), np.arange(10)) is None


def test_more_labels_help_where_they_do():
    x, truth = make_rows(1500, 1.3)
    y = np.where(np.arange(1500) < 120, truth, -1)
    curve = estimate_learning_curve(x, y, tuple("abcd"), np.arange(120))
    sizes, accuracies = zip(*curve.measured, strict=True)
    assert sizes[-1] == 120
    assert accuracies[-1] > accuracies[0]
    assert curve.sentence.startswith("50 more labels would raise the accuracy by")
    step, gain = curve.expected[1]
    assert step == 50
    assert gain.low <= gain.value <= gain.high
    assert gain.value > 0


def test_the_order_of_the_rows_says_nothing():
    """A folder that is sorted by class: its first rows alone would know one class of four."""
    x, truth = make_rows(400, 0.5)
    order = np.argsort(truth, kind="stable")
    x, truth = x[order], truth[order]
    y = np.where(np.arange(400) % 4 == 0, truth, -1)
    curve = estimate_learning_curve(x, y, tuple("abcd"), np.arange(0, 400, 4))
    assert curve.measured[0][0] == 35
    assert curve.measured[0][1] > 0.9


def test_it_says_when_it_cannot_tell():
    x, truth = make_rows(300, 3.0)
    y = np.where(np.arange(300) < 40, truth, -1)
    curve = estimate_learning_curve(x, y, tuple("abcd"), np.arange(15))
    assert "cannot be told" in curve.sentence or "perhaps not at all" in curve.sentence
    assert pytest.approx(1.0) != curve.measured[-1][1]
