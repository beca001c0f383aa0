"""What a condensed set loses: paired, and no surer where images come in groups."""

import numpy as np
import pytest

from ilk.core.errors import InputError
from ilk.subset_selection.condense import divide_held_out
from ilk.subset_selection.judgement import compare


def test_the_gap_is_the_few_minus_all():
    y = np.arange(40) % 2
    worse = np.where(np.arange(40) < 10, 1 - y, y)
    judged = compare(y, y, worse, np.full(40, -1))
    assert (judged.of_all.value, judged.of_few.value) == (1.0, 0.75)
    assert judged.gap.value == -0.25
    assert judged.gap.high < 0


def test_images_of_a_group_count_once():
    rng = np.random.default_rng(0)
    y = np.zeros(50, np.int64)
    all_, few = (rng.random(50) > 0.9).astype(int), (rng.random(50) > 0.7).astype(int)
    alone = compare(y, all_, few, np.full(50, -1))
    tenfold = [np.repeat(a, 10) for a in (y, all_, few)]
    together = compare(*tenfold, np.repeat(np.arange(50), 10))
    for name in ("of_all", "of_few", "gap"):
        one, other = getattr(alone, name), getattr(together, name)
        assert other.value == pytest.approx(one.value)
        assert other.high - other.low == pytest.approx(one.high - one.low, rel=0.05)


def test_no_group_chooses_and_judges():
    y, groups = np.tile([0, 1], 60), np.arange(120) // 6
    is_held = groups < 6
    chooses, judges = divide_held_out(y, groups, is_held, 0)
    assert set(chooses) | set(judges) == set(np.flatnonzero(is_held))
    assert not set(groups[chooses]) & set(groups[judges])
    with pytest.raises(InputError, match=r"4 groups of images are too few.* 10 groups or more"):
        divide_held_out(y, np.arange(120) // 30, np.arange(120) < 30, 0)
