"""Suspected labels against a slow twin, and planted wrong labels among digits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from ilk.protocols import stratified_folds
from ilk.trust.calibration import cross_calibrate
from ilk.trust.label_errors import LabelErrors


def _reference(p, y):
    """The paper, row by row: ranking, suspects, and the confident joint scaled to the labels."""
    n, k = p.shape
    threshold = []
    for j in range(k):
        own = [p[i, j] for i in range(n) if y[i] == j]
        threshold.append(sum(own) / len(own) if own else float("inf"))
    joint, suspect, margin = np.zeros((k, k)), set(), {}
    for i in range(n):
        confident = [j for j in range(k) if p[i, j] >= threshold[j]]
        if confident:
            star = max(confident, key=lambda j: p[i, j])
            joint[y[i], star] += 1
            if star != y[i]:
                suspect.add(i)
        margin[i] = p[i, y[i]] - max(p[i, j] for j in range(k) if j != y[i])
    for j in range(k):
        if total := joint[j].sum():
            joint[j] *= sum(y == j) / total
    return sorted(range(n), key=lambda i: margin[i]), suspect, joint


def answers(n=150, k=4, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(k, size=n)
    p = rng.dirichlet(np.ones(k), n) + 0.5 * np.eye(k)[y]
    p /= p.sum(1, keepdims=True)
    wrong = rng.random(n) < 0.1
    return p, np.where(wrong, (y + 1) % k, y)


@pytest.mark.parametrize("seed", range(5))
def test_fast_and_slow_agree(seed):
    p, y = answers(seed=seed)
    order, suspect, joint = _reference(p, y)
    got = LabelErrors.find(p, y, "margin")
    assert got.rows.tolist() == order
    assert set(got.rows[got.is_suspect]) == suspect
    np.testing.assert_allclose(got.joint, joint)
    np.testing.assert_allclose(got.joint.sum(1), np.bincount(y, minlength=4))
    assert (np.diff(got.score) <= 0).all()
    assert 0 < got.noise_rate < 0.3


def test_rows_without_label_or_prediction_are_skipped_and_positions_preserved():
    p, y = answers()
    whole = LabelErrors.find(p, y)
    gaps = np.sort(np.random.default_rng(0).choice(190, 150, replace=False))
    wide_p, wide_y = np.full((190, 4), np.nan), np.full(190, -1)
    wide_p[gaps], wide_y[gaps] = p, y
    untested = np.setdiff1d(np.arange(190), gaps)
    wide_y[untested[:5]] = 2  # a label, but no answer
    wide_p[untested[-5:]] = 0.25  # an answer, but no label
    np.testing.assert_array_equal(LabelErrors.find(wide_p, wide_y).rows, gaps[whole.rows])


def test_the_suggestion_is_the_most_likely_other_class():
    p = np.array([[0.1, 0.7, 0.2], [0.6, 0.3, 0.1]])
    got = LabelErrors.find(p, np.array([0, 0]), "margin")
    assert got.rows.tolist() == [0, 1]
    assert got.suggested_label.tolist() == [1, 1]
    np.testing.assert_allclose(got.score, [(1 + 0.6) / 2, (1 - 0.3) / 2])


def test_clean_certain_answers_raise_no_suspicion():
    y = np.arange(30) % 3
    got = LabelErrors.find(0.97 * np.eye(3)[y] + 0.01, y)
    assert not got.is_suspect.any()
    assert got.noise_rate == 0
    np.testing.assert_array_equal(got.joint, np.diag([10, 10, 10]))


def test_a_class_always_called_confidently_otherwise_is_not_blamed_on_a_fixed_cut():
    """Class thresholds: a timid model's 0.4 is confident where its class mean is 0.35."""
    p = np.array([[0.4, 0.3, 0.3]] * 10 + [[0.3, 0.4, 0.3]] * 10 + [[0.2, 0.2, 0.6]] * 10)
    y = np.repeat([0, 1, 2], 10)
    y[0] = 1
    got = LabelErrors.find(p, y)
    assert got.rows[got.is_suspect].tolist() == [0]


def test_empty_input_gives_no_suspects():
    got = LabelErrors.find(np.zeros((0, 3)), np.zeros(0, int))
    assert len(got.rows) == len(got.score) == 0
    assert got.noise_rate == 0


@pytest.mark.parametrize(
    "head", [LogisticRegression(max_iter=300), KNeighborsClassifier(10, weights="distance")]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_planted_wrong_digits_lead_the_ranking(head, seed):
    x, truth = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    planted = rng.choice(len(x), round(0.02 * len(x)), replace=False)
    y = truth.copy()
    y[planted] = (y[planted] + rng.integers(1, 10, len(planted))) % 10
    fold = stratified_folds(y, 5, seed)
    z = np.empty((len(y), 10))
    for f in range(5):
        p = head.fit(x[fold != f] / 16, y[fold != f]).predict_proba(x[fold == f] / 16)
        z[fold == f] = np.log(p + 1e-6)
    got = LabelErrors.find(cross_calibrate(z, y, fold), y)
    first = got.rows[: round(0.05 * len(y))]
    assert np.isin(planted, first).mean() >= 0.8
    assert np.isin(planted, got.rows[got.is_suspect]).mean() >= 0.8
    right = (
        got.suggested_label[np.isin(got.rows, planted)]
        == truth[got.rows[np.isin(got.rows, planted)]]
    )
    assert right.mean() >= 0.8
