"""The benchmark of compatible updates runs small; classes grow and images of a class stay apart."""

import json
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.compatible_updates import run as updates


def test_small_run_gives_json():
    result = json.loads(json.dumps(updates.run(small=True), allow_nan=False))
    assert len(result["tables"]) == 4
    assert np.shape(result["matrices"]["digits"][updates.OURS]) == (4, 4)


def test_later_versions_know_the_classes_of_earlier_ones_by_the_same_number():
    parts, test = updates.draw_digits(0)
    for old, new in pairwise(parts):
        assert new.classes[: old.k] == old.classes
        assert np.array_equal(new.x[: len(old.x)], old.x)
    assert test.k == 10


def test_figures_of_a_matrix_by_hand():
    c = np.array([[0.5, 0.1, 0.1], [0.6, 0.7, 0.1], [0.4, 0.8, 0.9]])
    figures = updates.summarize_matrix(c)
    assert figures[updates.CROSS] == pytest.approx((0.6 + 0.4 + 0.8) / 3)
    assert figures[updates.GAIN] == pytest.approx((0.1 - 0.1 + 0.1) / 3)
    assert figures[updates.SHARE] == pytest.approx(2 / 3)
    assert figures[updates.ALONE] == 0.9
