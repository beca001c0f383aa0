"""Diverse anchors lie between the quantiles; the limits are the farthest and the nearest rows."""

import numpy as np
import pytest

from ilk.core.linear_models import normalize_rows
from ilk.maths.diverse_anchors import choose_diverse


def make_rows(n=60):
    return normalize_rows(np.random.default_rng(0).standard_normal((n, 3)))


def rank_choices(x, chosen):
    """The share of the remaining rows that are less similar to those chosen before, per choice."""
    shares = []
    for i in range(1, len(chosen)):
        left = np.setdiff1d(np.arange(len(x)), chosen[:i])
        greatest = (x[left] @ x[chosen[:i]].T).max(1)
        mine = (x[chosen[i]] @ x[chosen[:i]].T).max()
        shares.append(np.sum(greatest < mine - 1e-12) / len(left))
    return np.array(shares)


def test_each_choice_lies_between_the_quantiles_and_is_new():
    x = make_rows()
    for seed in range(5):
        chosen = choose_diverse(x, 30, np.random.default_rng(seed))
        assert len(set(chosen.tolist())) == 30
        shares = rank_choices(x, chosen)
        assert (shares >= 0.2 - 1 / 30).all()
        assert (shares < 0.8).all()
        assert np.ptp(shares) > 0.3  # drawn from the whole of it


@pytest.mark.parametrize(("low", "high", "share"), [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0)])
def test_the_limits_are_the_farthest_and_the_nearest_row(low, high, share):
    x = make_rows()
    shares = rank_choices(x, choose_diverse(x, 20, np.random.default_rng(1), low, high))
    assert np.abs(shares - share).max() < 1 / 40 + 1e-9


def test_all_rows_can_be_chosen():
    assert sorted(choose_diverse(make_rows(7), 7, np.random.default_rng(0))) == list(range(7))
