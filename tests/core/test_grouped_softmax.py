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
    outside = p[:, group == -1].sum(1)
    expected = np.stack([p[:, group == c].sum(1) + outside / 3 for c in range(3)], axis=1)
    model = GroupedSoftmax(weight, bias, group)
    np.testing.assert_allclose(np.exp(model.logits(x)), expected, rtol=1e-12)
    np.testing.assert_allclose(np.exp(model.logits(x)).sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(model.outside(x), outside, rtol=1e-12)


def test_without_classes_outside_nothing_is_spread():
    weight, bias, group, x = make()
    model = GroupedSoftmax(weight, bias, np.abs(group))
    p = softmax(Linear(weight, bias).logits(x), axis=1)
    expected = np.stack([p[:, np.abs(group) == c].sum(1) for c in range(3)], axis=1)
    np.testing.assert_allclose(np.exp(model.logits(x)), expected, rtol=1e-12)
    np.testing.assert_array_equal(model.outside(x), 0)


def test_log_probabilities_far_below_the_smallest_number_stay_finite():
    weight, bias, group, x = make(scale=3000.0)
    logits = GroupedSoftmax(weight, bias, np.abs(group)).logits(x)
    assert np.isfinite(logits).all()
    assert logits.min() < -800
    assert GroupedSoftmax(weight, bias, group).logits(x[:0]).shape == (0, 3)
