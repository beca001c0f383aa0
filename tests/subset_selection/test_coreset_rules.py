"""Rules that rank images without a target, against second derivations."""

from __future__ import annotations

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.maths.folds import assign_folds
from ilk.maths.herding import herd
from ilk.maths.out_of_fold import fit_head, predict_out_of_fold, predict_proba
from ilk.subset_selection.selectors.el2n import EL2N
from ilk.subset_selection.selectors.forgetting import Forgetting, count_forgetting
from ilk.subset_selection.selectors.k_center import KCenter
from ilk.subset_selection.selectors.moderate import Moderate
from ilk.subset_selection.selectors.selector import score_by_class, standardize


@pytest.fixture
def rows():
    rng = np.random.default_rng(2)
    y = np.repeat(np.arange(3), [20, 14, 12])
    x = (1.5 * rng.standard_normal((3, 4))[y] + rng.standard_normal((46, 4))).astype(np.float32)
    return Data(x, y, tuple("abc"))


def test_herding_keeps_the_mean_of_what_is_chosen_nearest_to_the_mean():
    x = np.random.default_rng(0).standard_normal((12, 3))
    left, chosen = list(range(12)), []
    while left:
        distance = [np.linalg.norm(x.mean(0) - x[[*chosen, i]].mean(0)) for i in left]
        chosen.append(left.pop(int(np.argmin(distance))))
    np.testing.assert_array_equal(herd(x, len(x)), chosen)


def test_k_center_takes_the_row_that_is_farthest_from_those_chosen(rows):
    scores = KCenter().score(rows, None, 0)
    for c in range(3):
        own = np.flatnonzero(rows.y == c)
        order = own[np.argsort(-scores[own])]
        x = rows.x.astype(float)
        for k in range(1, 6):
            gap = np.linalg.norm(x[own][:, None] - x[order[:k]][None], axis=2).min(1)
            assert own[gap.argmax()] == order[k]


def test_moderate_prefers_the_median_distance(rows):
    scores = Moderate().score(rows, None, 0)
    (x,) = standardize(rows.x)
    own = x[rows.y == 1]
    distance = np.linalg.norm(own - own.mean(0), axis=1)
    expected = np.argsort(np.abs(distance - np.median(distance)))
    np.testing.assert_array_equal(np.argsort(-scores[rows.y == 1]), expected)


def test_out_of_fold_probabilities_are_those_of_a_regression_on_the_other_folds(rows):
    from sklearn.linear_model import LogisticRegression

    p = predict_out_of_fold(rows, 3, 5)
    fold = assign_folds(rows.y, 3, 5)
    for f in range(3):
        train = rows.take(fold != f)
        C = 1 / train.x.var(0, dtype=np.float64).mean()
        reference = LogisticRegression(C=C, tol=1e-10, max_iter=5000).fit(train.x, train.y)
        expected = reference.predict_proba(rows.x[fold == f])
        np.testing.assert_allclose(p[fold == f], expected, atol=2e-4)


def test_el2n_is_the_length_of_the_error(rows):
    error = EL2N(hard=True, repeats=1, folds=4).score(rows, None, 9)
    p = predict_out_of_fold(rows, 4, 9)
    for i in (0, 21, 45):
        onehot = np.arange(3) == rows.y[i]
        assert error[i] == pytest.approx(np.sqrt(((p[i] - onehot) ** 2).sum()))
    np.testing.assert_allclose(EL2N(repeats=1, folds=4).score(rows, None, 9), -error)


def test_forgetting_counts_falls_from_right_to_wrong():
    right = np.array([[1, 0, 1, 0], [0, 0, 1, 1], [1, 0, 1, 1], [0, 0, 1, 0]], bool)
    np.testing.assert_array_equal(count_forgetting(right), [2, 4, 0, 1])


def test_a_row_with_a_wrong_label_is_hard(rows):
    y = rows.y.copy()
    (x,) = standardize(rows.x)
    sure = np.flatnonzero(predict_proba(fit_head(rows), rows.x)[:, 0] > 0.9)[0]
    y[sure] = 1
    wrong = Data(rows.x, y, rows.classes)
    assert EL2N().score(wrong, None, 0)[sure] <= np.sort(EL2N().score(wrong, None, 0))[2]
    assert Forgetting().score(wrong, None, 0)[sure] >= 3
    assert len(x) == 46


def test_the_error_is_the_mean_over_sets_of_folds(rows):
    each = [EL2N(hard=True, repeats=1).score(rows, None, seed) for seed in (4, 5)]
    assert not np.allclose(*each)
    both = EL2N(hard=True, repeats=2).score(rows, None, 4)
    np.testing.assert_allclose(both, np.mean(each, axis=0))


def test_orders_of_classes_are_shares_of_the_class():
    scores = score_by_class(np.array([0, 1, 0, 0, 0, 1]), lambda rows: rows[::-1])
    assert scores.tolist() == [0.25, 0.5, 0.5, 0.75, 1.0, 1.0]
