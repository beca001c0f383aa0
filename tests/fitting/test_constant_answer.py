"""A classifier that is no better than one answer for every image is known for it."""

import numpy as np
import pytest

from ilk.fitting.constant_answer import beats_constant_answer


def make_probabilities(predicted, k=2):
    return np.eye(k)[predicted] * 0.8 + 0.2 / k


def test_chance_and_the_most_frequent_class_are_no_better():
    y = np.array([0] * 7 + [1] * 5)
    assert not beats_constant_answer(make_probabilities(np.zeros(12, int)), y)
    assert not beats_constant_answer(make_probabilities(1 - y), y)
    assert beats_constant_answer(make_probabilities(y), y)


def test_one_more_right_answer_is_better():
    y = np.array([0] * 7 + [1] * 5)
    assert beats_constant_answer(make_probabilities(np.array([0] * 11 + [1])), y)


def test_finding_a_rare_class_counts_although_fewer_are_right():
    y = np.array([0] * 95 + [1] * 5)
    predicted = np.array([0] * 85 + [1] * 15)
    assert np.mean(predicted == y) < 0.95
    assert beats_constant_answer(make_probabilities(predicted), y)


@pytest.mark.parametrize("y", [[], [0, 0], [-1, -1]])
def test_one_class_leaves_nothing_to_compare(y):
    y = np.array(y, np.int64)
    assert beats_constant_answer(make_probabilities(np.ones(len(y), int)), y)


def test_rows_without_predictions_do_not_count():
    y = np.array([0, 0, 0, 1, 1])
    p = make_probabilities(y)
    p[3:] = np.nan
    p[0] = [0.1, 0.9]
    assert beats_constant_answer(p, y)  # the rest is of one class
