"""Average drop and increase in confidence, by hand."""

import numpy as np
import pytest

from ilk.explain.confidence_drop import keep_top, measure_average_drop


def test_three_images_by_hand():
    before, after = np.array([0.8, 0.5, 0.4]), np.array([0.2, 0.5, 0.6])
    drop, increase = measure_average_drop(before, after)
    assert drop == pytest.approx(100 * (0.75 + 0 + 0) / 3)
    assert increase == pytest.approx(100 / 3)


def test_a_map_of_ones_drops_nothing():
    p = np.array([0.3, 0.9])
    assert measure_average_drop(p, p) == (0.0, 0.0)


def test_what_lies_below_the_quantile_becomes_0_and_the_rest_stays_graded():
    values = np.arange(20.0).reshape(4, 5) - 7
    kept = keep_top(values, 0.85)
    assert (kept > 0).sum() == 3
    assert kept.max() == 1
    assert kept[3, 3] == pytest.approx(18 / 19)
    whole = keep_top(values, 0.0)
    assert whole.min() == 0
    assert whole[0, 1] == pytest.approx(1 / 19)


def test_a_constant_map_keeps_everything():
    assert (keep_top(np.full((3, 3), 0.2), 0.5) == 1).all()
