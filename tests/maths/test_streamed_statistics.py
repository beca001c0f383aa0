"""Statistics in one pass are those of all rows; parts merge in any order and can be left out."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest

from ilk.core.errors import InputError
from ilk.maths.gaussian import merge_statistics, subtract_statistics
from ilk.maths.streamed_statistics import StreamedStatistics, merge_parts

RNG = np.random.default_rng(0)
N, D, K = 900, 6, 4
Y = RNG.integers(0, K - 1, N)  # the last class has no row
X = (RNG.normal(size=(N, D)) + 2000 * RNG.normal(size=(K, D))[Y]).astype(np.float32)
PART = RNG.integers(0, 5, N)


def direct(x, y):
    """Counts, means and scatter by their definition, in float64."""
    counts = np.bincount(y, minlength=K)
    means = np.stack([x[y == c].mean(0, dtype=float) if counts[c] else 0 * x[0] for c in range(K)])
    z = x.astype(float) - means[y]
    return counts, means, z.T @ z


def stream(x, y, part=None, block=50):
    sums = StreamedStatistics(K, D, 5)
    for at in range(0, len(x), block):
        rows = slice(at, at + block)
        sums.add(x[rows], y[rows], None if part is None else part[rows])
    return sums


def check(stats, x, y):
    counts, means, scatter = direct(x, y)
    np.testing.assert_array_equal(stats.counts, counts)
    np.testing.assert_allclose(stats.means, means, rtol=1e-9, atol=1e-4)
    np.testing.assert_allclose(stats.scatter, scatter, rtol=2e-5, atol=2e-5 * scatter.max())


def test_one_pass_gives_the_statistics_of_all_rows_though_classes_lie_far_apart():
    check(stream(X, Y).to_statistics(), X, Y)


@pytest.mark.parametrize("block", [1, 7, 900])
def test_each_part_has_its_own_rows_and_together_they_are_all(block):
    parts = stream(X, Y, PART, block).to_parts()
    for p, stats in enumerate(parts):
        check(stats, X[p == PART], Y[p == PART])
    check(merge_parts(parts), X, Y)


def test_a_part_that_is_left_out_leaves_the_statistics_of_the_others():
    parts = stream(X, Y, PART).to_parts()
    for p in range(5):
        rest = merge_parts([s for i, s in enumerate(parts) if i != p])
        check(rest, X[p != PART], Y[p != PART])
        again = subtract_statistics(merge_parts(parts), parts[p])
        np.testing.assert_allclose(again.scatter, rest.scatter, rtol=1e-6, atol=1e-3)


def test_merging_is_associative_and_commutative():
    parts = [stream(X[p == PART], Y[p == PART]).to_statistics() for p in range(5)]
    left = reduce(merge_statistics, parts)
    right = reduce(lambda a, b: merge_statistics(b, a), reversed(parts))
    backwards = reduce(merge_statistics, parts[::-1])
    for other in (right, backwards, merge_parts(parts)):
        np.testing.assert_array_equal(other.counts, left.counts)
        np.testing.assert_allclose(other.means, left.means, rtol=1e-12, atol=1e-9)
        np.testing.assert_allclose(other.scatter, left.scatter, rtol=1e-9, atol=1e-6)


def test_half_precision_is_read_as_it_is():
    x = RNG.normal(size=(300, D)).astype(np.float16)
    check(stream(x, Y[:300]).to_statistics(), x.astype(np.float32), Y[:300])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_feature_that_is_not_finite_is_refused(bad):
    x = X.copy()
    x[123, 2] = bad
    with pytest.raises(InputError, match="not finite"):
        stream(x, Y)
