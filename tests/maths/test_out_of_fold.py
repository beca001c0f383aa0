"""Probabilities of rows by heads that did not see them."""

import numpy as np

from ilk.core.data import Data
from ilk.maths.out_of_fold import fit_head, predict_out_of_fold, predict_proba


def test_no_head_has_seen_the_row_or_its_group():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 60)).astype(np.float32)
    y = np.tile([0, 1], 20).astype(np.int64)
    data = Data(x, y, ("a", "b"))
    assert (predict_proba(fit_head(data), x).argmax(1) == y).mean() > 0.95
    assert (predict_out_of_fold(data, 5, 0).argmax(1) == y).mean() < 0.8
    twice = Data(np.repeat(x, 2, 0), np.repeat(y, 2), ("a", "b"), group=np.repeat(np.arange(40), 2))
    assert (predict_out_of_fold(twice, 5, 0).argmax(1) == twice.y).mean() < 0.8


def test_the_penalty_does_not_depend_on_the_unit_of_features():
    rng = np.random.default_rng(1)
    y = np.tile([0, 1, 2], 20).astype(np.int64)
    x = (rng.normal(size=(60, 5)) + y[:, None]).astype(np.float32)
    small, large = (
        predict_out_of_fold(Data(x * np.float32(s), y, ("a", "b", "c")), 5, 0) for s in (0.1, 10)
    )
    assert np.abs(small - large).max() < 0.01
    assert np.allclose(small.sum(1), 1)
