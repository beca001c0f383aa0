"""Groups of classes of a linear classifier, against sums of its softmax."""

import numpy as np

from ilk.core.grouped_softmax import GroupedSoftmax
from ilk.core.linear_models import Linear
from ilk.core.metrics import softmax


def make(seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    weight = (scale * rng.standard_normal((9, 4))).astype(np.float32)
    bias = rng.standard_normal(9).astype(np.float32)
    return weight, bias, np.array([2, -1, 0, 0, 1, -1, 2, 2, 0]), rng.standard_normal((7, 4))


def test_probabilities_are_sums_over_the_classes_of_a_group():
    weight, bias, group, x = make()
    p = softmax(Linear(weight, bias).logits(x), axis=1)
    expected = np.stack([p[:, group == c].sum(1) for c in range(3)], axis=1)
    actual = np.exp(GroupedSoftmax(weight, bias, group).logits(x))
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    np.testing.assert_allclose(1 - actual.sum(1), p[:, group == -1].sum(1), rtol=1e-9)


def test_without_outside_the_probabilities_sum_to_one():
    weight, bias, group, x = make()
    logits = GroupedSoftmax(weight, bias, np.abs(group)).logits(x)
    np.testing.assert_allclose(np.exp(logits).sum(1), 1, rtol=1e-12)


def test_log_probabilities_far_below_the_smallest_number_stay_finite():
    weight, bias, group, x = make(scale=3000.0)
    logits = GroupedSoftmax(weight, bias, group).logits(x)
    assert np.isfinite(logits).all()
    assert logits.min() < -800
    assert GroupedSoftmax(weight, bias, group).logits(x[:0]).shape == (0, 3)
