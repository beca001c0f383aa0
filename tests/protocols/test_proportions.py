"""Tails fall as told, shares come out as asked, and nothing is drawn twice."""

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.protocols import label_shift, long_tail


def numbered(counts, bare=0, seed=0):
    """Rows that carry their own number, classes mixed, `bare` of them without a label."""
    y = np.concatenate([np.repeat(np.arange(len(counts)), counts), np.full(bare, -1)])
    y = np.random.default_rng(seed).permutation(y)
    x = np.arange(len(y), dtype=np.float32)[:, None]
    return Data(x, y, tuple(f"kind {c}" for c in range(len(counts))))


def told(data, part):
    """The labels of the rows are those they had."""
    at = part.x[:, 0].astype(int)
    assert len(set(at)) == len(at)
    np.testing.assert_array_equal(part.y, data.y[at])


@pytest.mark.parametrize("ratio", [1, 10, 100])
def test_a_tail_falls_by_the_same_factor_from_class_to_class(ratio):
    data = numbered([400, 300, 350, 300, 500])
    cut = long_tail(data, ratio, seed=3)
    told(data, cut)
    sizes = np.sort(cut.count_labels())[::-1]
    assert (sizes[0], sizes[-1]) == (300, round(300 / ratio))
    np.testing.assert_allclose(sizes[1:] / sizes[:-1], ratio**-0.25, rtol=0.1)
    assert (np.diff(cut.x[:, 0]) > 0).all()


def test_the_largest_class_is_as_large_as_told_and_the_smallest_has_a_row():
    sizes = np.sort(long_tail(numbered([80] * 10), 1000, max_rows=50).count_labels())
    assert (sizes[0], sizes[-1]) == (1, 50)
    assert long_tail(numbered([7, 9]), 1, max_rows=50).count_labels().tolist() == [7, 7]
    assert long_tail(numbered([7]), 10).count_labels().tolist() == [7]


def test_which_class_and_which_rows_are_rare_is_drawn():
    data = numbered([50] * 4)
    cuts = [long_tail(data, 50, seed=s) for s in range(30)]
    assert {int(c.count_labels().argmin()) for c in cuts} == {0, 1, 2, 3}
    again = long_tail(data, 50, seed=7)
    np.testing.assert_array_equal(cuts[7].x, again.x)
    seen = np.bincount(np.concatenate([c.x[:, 0] for c in cuts]).astype(int), minlength=200)
    assert (seen > 0).all()


def test_a_tail_leaves_rows_without_a_label():
    data = numbered([30, 30], bare=12)
    cut = long_tail(data, 10)
    assert (cut.y < 0).sum() == 12
    told(data, cut)


@pytest.mark.parametrize(
    ("shares", "n", "sizes"),
    [
        ((0.5, 0.3, 0.2), 100, [50, 30, 20]),
        ((1 / 3, 1 / 3, 1 / 3), 10, [3, 3, 3]),
        ((0.0, 0.5, 0.5), None, [0, 60, 60]),
        ((0.1, 0.7, 0.2), None, [8, 60, 17]),
        ((1.0, 0.0, 0.0), 100, [100, 0, 0]),
    ],
)
def test_shares_come_out_as_asked_to_within_a_row(shares, n, sizes):
    data = numbered([100, 60, 80], bare=9)
    drawn = label_shift(data, shares, n, seed=1)
    told(data, drawn)
    assert (drawn.y >= 0).all()
    assert np.abs(drawn.count_labels() - sizes).max() <= 1
    assert n is None or len(drawn) == n
    assert np.abs(drawn.count_labels() - np.array(shares) * len(drawn)).max() < 1


def test_the_most_that_rows_allow_is_all_of_the_scarcest_class():
    counts = np.array([30, 7, 49])
    for shares in (counts / 86, (0.3, 0.7, 0), (0.1, 0.2, 0.7)):
        drawn = label_shift(numbered(counts), shares)
        full = drawn.count_labels() == counts
        assert full[np.array(shares) > 0].any()
        with pytest.raises(InputError, match=f"allow 1 to {len(drawn)}"):
            label_shift(numbered(counts), shares, len(drawn) + 1)


def test_drawn_rows_are_in_random_order_and_the_seed_tells_which():
    data = numbered([40, 40])
    one, other = (label_shift(data, [0.5, 0.5], 40, seed=s) for s in (0, 1))
    np.testing.assert_array_equal(one.x, label_shift(data, [0.5, 0.5], 40).x)
    assert set(one.x[:, 0]) != set(other.x[:, 0])
    assert not (np.diff(one.x[:, 0]) > 0).all()


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (lambda d: long_tail(d, 0.5), "ratio is 0.5"),
        (lambda d: long_tail(d, float("nan")), "ratio is nan"),
        (lambda d: long_tail(d, float("inf")), "ratio is inf"),
        (lambda d: long_tail(d, 10, max_rows=0), "max_rows is 0"),
        (lambda d: long_tail(d.take(d.y != 1), 10), "no labelled row of kind 1"),
        (lambda d: label_shift(d, [0.5, 0.6]), "2 numbers of at least 0 that sum to 1"),
        (lambda d: label_shift(d, [1.5, -0.5]), "2 numbers"),
        (lambda d: label_shift(d, [float("nan"), 1.0]), "2 numbers"),
        (lambda d: label_shift(d, [1.0]), "2 numbers"),
        (lambda d: label_shift(d, [0.5, 0.5], 0), "0 rows with these class priors"),
        (lambda d: label_shift(d.take(d.y == 0), [0.5, 0.5]), "a class with a positive prior"),
    ],
)
def test_what_cannot_be_cut_is_refused_in_words(what, words):
    with pytest.raises(InputError, match=words):
        what(numbered([10, 10]))
