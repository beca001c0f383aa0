"""Ordered classes: their values, the median, and the size of errors."""

import numpy as np
import pytest

from ilk.core.errors import InputError
from ilk.core.metrics import score
from ilk.core.ordered_classes import (
    compute_class_values,
    describe_order,
    parse_class_value,
    predict_median,
    score_ordered,
    sort_classes,
)


@pytest.mark.parametrize(
    ("name", "value"),
    [("3", 3), ("-2.5", -2.5), ("0-9", 4.5), ("10 – 19", 14.5), ("60+", 60), (">= 7", 7)],
)
def test_numbers_ranges_and_bounds_have_values(name, value):
    assert parse_class_value(name) == value


@pytest.mark.parametrize("name", ["cat", "3 cats", "1-2-3", "", "v1"])
def test_other_names_have_none(name):
    assert parse_class_value(name) is None


def test_classes_are_sorted_by_number():
    assert sort_classes(["10", "9", "1"]) == ("1", "9", "10")
    assert sort_classes(["60+", "0-9", "10-19"]) == ("0-9", "10-19", "60+")
    with pytest.raises(InputError, match="'cat' is neither"):
        sort_classes(["1", "cat"])
    with pytest.raises(InputError, match=r"'1' and '1\.0' stand for the same number"):
        sort_classes(["1", "1.0"])
    assert compute_class_values(["1", "1.0"]) is None


def test_the_median_has_the_least_expected_absolute_error():
    rng = np.random.default_rng(0)
    values = rng.permutation([1.0, 2.0, 4.0, 8.0, 16.0])
    p = rng.dirichlet(np.ones(5), 500)
    expected = p @ np.abs(values[:, None] - values)  # of each class as the prediction
    chosen = expected[np.arange(500), predict_median(p, values)]
    np.testing.assert_allclose(chosen, expected.min(1), rtol=1e-9)
    assert (predict_median(p, values) != p.argmax(1)).any()


def test_scores_add_the_error_of_the_median():
    rng = np.random.default_rng(1)
    p, y = rng.dirichlet(np.ones(4), 50), rng.integers(4, size=50)
    values = np.array([0.0, 1.0, 2.0, 5.0])
    error = np.mean(np.abs(values[predict_median(p, values)] - values[y]))
    assert score_ordered(y, p, values).mean_absolute_error == pytest.approx(error)
    assert score_ordered(y, p, None) == score(y, p)


def test_order_is_offered_for_numbers_only():
    assert "--ordered" in describe_order(["1", "2", "3"])
    assert describe_order(["1", "2"]) == ""
    assert describe_order(["1", "2", "cat"]) == ""
