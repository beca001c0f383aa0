"""Calibration: what a temperature must do, and how little n rows may claim."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from ilk.core import metrics
from ilk.protocols import stratified_folds
from ilk.trust.calibration import Calibration, cross_calibrate


def sample_logits(n=20_000, k=4, seed=0):
    """Logits whose softmax is the truth, and labels drawn from it."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, k)) * 2
    p = metrics.softmax(z, 1)
    return z, (rng.random((n, 1)) > p.cumsum(1)).sum(1).clip(max=k - 1)


@pytest.mark.parametrize("factor", [0.01, 0.3, 1, 7, 1000])
def test_the_factor_on_true_logits_is_found(factor):
    z, y = sample_logits()
    fitted = Calibration.fit(z * factor, y)
    assert fitted.temperature == pytest.approx(factor, rel=0.05)
    assert fitted.uniform_weight < 0.02
    assert fitted.n_rows == len(y)


def test_temperature_minimises_the_log_loss_of_held_out_rows():
    z, y = sample_logits(3000)
    fitted = Calibration.fit(z, y)

    def loss(log_t):
        p = metrics.softmax(z / np.exp(log_t), 1)
        return metrics.log_loss(y, (1 - fitted.uniform_weight) * p + fitted.uniform_weight / 4)

    best = np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x)
    assert fitted.temperature == pytest.approx(best, rel=0.01)


def test_a_share_of_labels_drawn_blindly_becomes_the_spread():
    z, y = sample_logits()
    rng = np.random.default_rng(1)
    blind = rng.random(len(y)) < 0.2
    y = np.where(blind, rng.integers(4, size=len(y)), y)
    fitted = Calibration.fit(z * 3, y)
    assert fitted.uniform_weight == pytest.approx(0.2, abs=0.03)
    assert fitted.temperature == pytest.approx(3, rel=0.1)


def test_probabilities_are_float64_sum_to_one_and_keep_the_answer():
    z, y = sample_logits(500)
    p = Calibration.fit(z, y).to_probabilities(z.astype(np.float32))
    assert p.dtype == np.float64
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-12)
    np.testing.assert_array_equal(np.argsort(p, 1), np.argsort(z.astype(np.float32), 1))


def test_units_and_offsets_of_the_logits_do_not_matter():
    z, y = sample_logits(500)
    offset = np.random.default_rng(2).normal(size=(500, 1)) * 100
    one = Calibration.fit(z, y).to_probabilities(z)
    two = Calibration.fit(z * 50 + offset, y).to_probabilities(z * 50 + offset)
    np.testing.assert_allclose(one, two, atol=1e-4)


@pytest.mark.parametrize("n", [4, 40, 400])
def test_n_right_out_of_n_claim_no_more_than_laplace(n):
    y = np.arange(n) % 2
    z = np.where(np.eye(2, dtype=bool)[y], 1.0, 0.0) * np.random.default_rng(0).uniform(
        1, 9, (n, 1)
    )
    fitted = Calibration.fit(z, y)
    confidence = fitted.to_probabilities(z * 1e6).max()
    assert confidence <= (n + 1) / (n + 2) + 1 / (2 * (n + 2))
    assert fitted.temperature > 0.05
    assert metrics.log_loss(y, fitted.to_probabilities(z)) < 3 / n


def test_an_unseen_class_gets_zero_probability_and_labels_reduce_confidence():
    z, y = sample_logits(400)
    z, y = np.where(np.arange(4) == 3, -np.inf, z)[y < 3][:200], y[y < 3][:200]
    clean = Calibration.fit(z, y)
    assert (clean.to_probabilities(z)[:, 3] == 0).all()
    np.testing.assert_allclose(clean.to_probabilities(z).sum(1), 1)
    y[:20] = 3
    assert Calibration.fit(z, y).uniform_weight >= 21 / 202 > clean.uniform_weight


@pytest.mark.parametrize(
    "z",
    [np.zeros((6, 3)), np.array([[0, -np.inf]] * 6), np.eye(3)[[0, 1, 2, 0, 1, 2]] * 1e-300],
)
def test_logits_that_tell_nothing_still_give_probabilities(z):
    y = np.array([0, 1, 2, 0, 1, 2]) if z.shape[1] == 3 else np.zeros(6, int)
    p = Calibration.fit(z, y).to_probabilities(z)
    np.testing.assert_allclose(p.sum(1), 1)


def test_logits_worse_than_chance_become_even_odds():
    z, y = sample_logits(2000, k=2)
    p = Calibration.fit(-z, y).to_probabilities(-z)
    np.testing.assert_allclose(p, 0.5, atol=0.01)


def test_no_rows_leave_the_softmax():
    z, _ = sample_logits(5)
    fitted = Calibration.fit(np.zeros((0, 4)), np.zeros(0, int))
    np.testing.assert_allclose(fitted.to_probabilities(z), metrics.softmax(z, 1))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_logits_are_rejected(bad):
    with pytest.raises(FloatingPointError, match="1 rows of logits"):
        Calibration().to_probabilities(np.array([[0.0, bad], [0, 1]]))
    with pytest.raises(FloatingPointError, match="allow no class"):
        Calibration().to_probabilities(np.full((1, 2), -np.inf))


def test_a_row_has_no_say_in_its_own_calibration():
    z, y = sample_logits(60)
    fold = stratified_folds(y, 3, 0)
    before = cross_calibrate(z, y, fold)
    flipped = y.copy()
    row = int(np.flatnonzero(fold == 1)[0])
    flipped[row] = (y[row] + 1) % 4
    after = cross_calibrate(z, flipped, fold)
    np.testing.assert_array_equal(before[fold == 1], after[fold == 1])
    assert not np.allclose(before[fold != 1], after[fold != 1], rtol=1e-9)


def test_rows_never_tested_stay_nan():
    z, y = sample_logits(30)
    fold = np.r_[-1, np.arange(29) % 3]
    p = cross_calibrate(z, y, fold)
    assert np.isnan(p[0]).all()
    assert np.isfinite(p[1:]).all()


def test_an_even_choice_of_many_rows_gives_the_temperature_of_all(monkeypatch):
    z, y = sample_logits(60_000)
    whole = Calibration.fit(z, y)
    monkeypatch.setattr("ilk.trust.calibration.MAX_LOGITS", 0)
    some = Calibration.fit(z, y)
    assert some.temperature != whole.temperature
    assert some.temperature == pytest.approx(whole.temperature, rel=0.06)
    assert some.n_rows == whole.n_rows == 60_000


@pytest.mark.parametrize(
    "head",
    [LogisticRegression(max_iter=300), LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)],
)
def test_digits_end_with_a_calibration_error_of_at_most_two_in_a_hundred(head):
    x, y = load_digits(return_X_y=True)
    x = x / 16
    fold = stratified_folds(y, 5, 0)
    z = np.empty((len(y), 10))
    for f in range(5):
        z[fold == f] = head.fit(x[fold != f], y[fold != f]).decision_function(x[fold == f])
    raw = metrics.calibration_error(y, metrics.softmax(z, 1))
    calibrated = metrics.calibration_error(y, cross_calibrate(z, y, fold))
    assert calibrated <= 0.02 < raw
