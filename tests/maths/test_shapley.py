"""Exact Shapley values: equal to sums over all orders, efficient, symmetric, and additive."""

from itertools import permutations

import numpy as np
import pytest

from ilk.core.errors import InputError
from ilk.maths import shapley
from ilk.maths.shapley import compute_shapley_values


def function(x):
    return np.column_stack([x[:, 0] * x[:, 1] + np.sin(x[:, 2]), x.sum(1) ** 2 * x[:, -1]])


def by_orders(f, row, background):
    """The mean gain of each feature over all orders in which features arrive."""
    p = len(row)
    total = np.zeros((p, f(row[None]).shape[1]))
    for order in permutations(range(p)):
        mixed = background.copy()
        before = f(mixed).mean(0)
        for j in order:
            mixed[:, j] = row[j]
            after = f(mixed).mean(0)
            total[j] += after - before
            before = after
    return total / np.prod(np.arange(1, p + 1))


@pytest.mark.parametrize("p", [1, 3, 5])
def test_values_equal_those_over_all_orders(p):
    rng = np.random.default_rng(p)
    f = function if p > 2 else lambda x: x**3
    x, background = rng.standard_normal((4, p)), rng.standard_normal((3, p))
    got = compute_shapley_values(f, x, background)
    for row, values in zip(x, got, strict=True):
        np.testing.assert_allclose(values, by_orders(f, row, background), atol=1e-10)
    want = f(x) - f(background).mean(0)
    np.testing.assert_allclose(got.sum(1), want, atol=1e-10)


def test_ten_features_of_a_linear_function_and_one_that_does_nothing():
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((10, 2))
    weight[4] = 0
    x, background = rng.standard_normal((6, 10)), rng.standard_normal((2, 10))
    got = compute_shapley_values(lambda rows: rows @ weight, x, background)
    want = (x - background.mean(0))[:, :, None] * weight
    np.testing.assert_allclose(got, want, atol=1e-10)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    x, background = rng.standard_normal((7, 4)), rng.standard_normal((2, 4))
    whole = compute_shapley_values(function, x, background)
    monkeypatch.setattr(shapley, "BLOCK_ROWS", 1)
    np.testing.assert_allclose(compute_shapley_values(function, x, background), whole)
    assert compute_shapley_values(function, x[:0], background).shape[0] == 0


def test_too_many_features_or_no_background_are_refused():
    with pytest.raises(InputError, match="at most 14 features"):
        compute_shapley_values(function, np.zeros((1, 15)), np.zeros((1, 15)))
    with pytest.raises(InputError, match="background"):
        compute_shapley_values(function, np.zeros((1, 3)), np.zeros((0, 3)))
