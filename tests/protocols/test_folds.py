"""Folds of whole groups: none is cut, classes stay spread, and single rows change nothing."""

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.maths.folds import assign_folds, count_folds, count_groups, number_groups, share_group
from ilk.protocols import cross_validation_steps, describe_fold_limits, stratified_folds


def grouped(seed=0, n=600, k=5):
    """Labels with a long tail, and groups of 1 to 9 rows, most of one class."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n), rng.integers(1, 10, n))[:n]
    y = rng.choice(k, n, p=[0.5, 0.25, 0.15, 0.06, 0.04])[groups]
    y = np.where(rng.random(n) < 0.1, rng.integers(0, k, n), y)
    order = rng.permutation(n)
    return y[order], groups[order]


@pytest.mark.parametrize("seed", range(5))
def test_a_group_lies_in_one_fold_and_classes_stay_spread(seed):
    y, groups = grouped(seed)
    fold = stratified_folds(y, 5, seed, groups)
    for g in np.unique(groups):
        assert len(np.unique(fold[groups == g])) == 1
    for c in range(5):
        share = np.bincount(fold[y == c], minlength=5) / np.sum(y == c)
        assert share.max() < 0.2 + 0.5 * np.bincount(groups[y == c]).max() / np.sum(y == c) + 0.05
    assert np.ptp(np.bincount(fold)) <= 20


@pytest.mark.parametrize("groups", [None, np.full(200, -1), np.arange(200)[::-1]])
def test_a_group_per_row_gives_the_folds_without_groups(groups):
    y = np.random.default_rng(0).integers(-1, 4, 200)
    np.testing.assert_array_equal(stratified_folds(y, 5, 3, groups), stratified_folds(y, 5, 3))
    known = y >= 0
    part = None if groups is None else groups[known]
    np.testing.assert_array_equal(assign_folds(y[known], 4, 1, part), assign_folds(y[known], 4, 1))


def test_no_step_trains_on_a_group_that_it_tests():
    y, groups = grouped(1)
    y = np.where(np.random.default_rng(0).random(len(y)) < 0.2, -1, y)  # unlabelled rows too
    data = Data(np.zeros((len(y), 1)), y, tuple("abcde"), group=groups)
    tested = np.zeros(len(y), int)
    for step in cross_validation_steps(data, stratified_folds(y, 5, 0, groups)):
        assert not set(step.train.group) & set(step.test.group)
        assert set(step.test.y) <= set(step.train.y)
        tested[step.test_rows] += 1
    assert (tested == (y >= 0)).all()


def test_a_class_of_one_group_only_trains():
    y = np.array([0, 0, 0, 1, 1, 1, 1])
    groups = np.array([7, 7, 7, 1, 1, 2, -1])
    fold = stratified_folds(y, 5, 0, groups)
    assert (fold[:3] == -1).all()
    assert fold[3] == fold[4]
    assert sorted(set(fold[3:])) == [0, 1, 2]
    assert describe_fold_limits(y, fold, 5, groups) == (
        "one class has a single group of images: cross-validation cannot test it, it only trains; "
        "no class has 5 groups of images, so there are 3 folds"
    )


def test_groups_are_counted_and_numbered():
    y, groups = np.array([0, 0, 1, 1, 1]), np.array([4, 4, 4, -1, -1])
    assert count_groups(y, groups).tolist() == [1, 3]
    assert count_groups(y).tolist() == [2, 3]
    assert count_folds(y, 5, groups) == 3
    assert sorted(number_groups(groups)) == [0, 0, 0, 1, 2]
    assert share_group(groups, np.array([0])).tolist() == [True, True, True, False, False]
    assert share_group(groups, np.array([3])).tolist() == [False, False, False, True, False]
