"""Scores of a diffusion model, as logits."""

from __future__ import annotations

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.methods.diffusion_classifier import DiffusionClassifier

NAMES = ("a", "b", "c")


def scores(n=50, seed=0):
    rng = np.random.default_rng(seed)
    return (-0.1 + 1e-4 * rng.standard_normal((n, 3))).astype(np.float32)


def test_the_order_of_classes_is_that_of_the_scores():
    x = scores()
    logits = DiffusionClassifier().fit(Data(x, np.full(50, -1), NAMES)).logits(x)
    np.testing.assert_array_equal(np.argsort(logits, 1), np.argsort(x, 1))


def test_classes_lie_one_deviation_apart_on_average_whatever_the_unit():
    x = scores().astype(np.float64)
    for unit in (1.0, 250.0):
        data = Data(unit * x, np.full(50, -1), NAMES)
        logits = DiffusionClassifier().fit(data).logits(data.x)
        assert np.std(logits, axis=1).mean() == pytest.approx(1, rel=1e-3)


def test_labels_change_nothing():
    x, y = scores(), np.arange(50) % 3
    with_labels = DiffusionClassifier().fit(Data(x, y, NAMES))
    without = DiffusionClassifier().fit(Data(x, np.full(50, -1), NAMES))
    np.testing.assert_array_equal(with_labels.weight, without.weight)


def test_scores_that_do_not_differ_and_none_at_all_are_no_division_by_zero():
    same = np.full((4, 3), -0.5, np.float32)
    for x in (same, same[:0]):
        model = DiffusionClassifier().fit(Data(x, np.full(len(x), -1), NAMES))
        assert np.isfinite(model.weight).all()


def test_other_features_raise():
    with pytest.raises(InputError, match="one score a class, 3 of them"):
        DiffusionClassifier().fit(Data(np.zeros((5, 4), np.float32), np.zeros(5), NAMES))
    with pytest.raises(ValueError, match="above 0"):
        DiffusionClassifier(scale=0.0)
