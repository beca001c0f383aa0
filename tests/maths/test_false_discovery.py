"""False discoveries: SciPy's adjusted p-values are the second derivation."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from ilk.maths.false_discovery import select_discoveries


@pytest.mark.parametrize("seed", range(5))
def test_discoveries_are_those_with_a_small_adjusted_p_value(seed):
    rng = np.random.default_rng(seed)
    p = np.concatenate([rng.random(60), rng.random(20) ** 6])
    for rate in (0.05, 0.2):
        found = select_discoveries(p, rate)
        assert 0 < found.sum() < len(p)
        np.testing.assert_array_equal(found, false_discovery_control(p) <= rate)


def test_nothing_is_found_among_nothing():
    assert select_discoveries(np.array([]), 0.05).shape == (0,)
    assert not select_discoveries(np.ones(4), 0.05).any()
