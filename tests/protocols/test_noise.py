"""Wrong labels by recipe: how many, which, and that nothing else moves."""

import numpy as np
import pytest
from scipy.stats import chisquare

from ilk.core.data import Data
from ilk.core.errors import InputError, UnknownName
from ilk.protocols import asymmetric_noise, replace_labels, symmetric_noise
from ilk.protocols.noise import proportional_noise

KINDS = [symmetric_noise, proportional_noise]
kinds = pytest.mark.parametrize("spoil", KINDS)


def items(counts=(900, 300, 60), unlabelled=0, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat([*range(len(counts)), -1], [*counts, unlabelled]))
    names = tuple("abcdefgh"[: len(counts)])
    return Data(rng.standard_normal((len(y), 2)).astype(np.float32), y, names)


@kinds
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.9])
def test_exactly_that_share_of_each_class_is_wrong(spoil, rate):
    data = items()
    wrong = spoil(data, rate, seed=3).y != data.y
    got = [int(wrong[data.y == c].sum()) for c in range(3)]
    assert got == [round(rate * n) for n in (900, 300, 60)]


@kinds
def test_nothing_but_labels_changes_and_the_input_stays(spoil):
    data = items(unlabelled=50)
    before = data.y.copy()
    got = spoil(data, 0.5, seed=1)
    np.testing.assert_array_equal(data.y, before)
    np.testing.assert_array_equal(got.x, data.x)
    np.testing.assert_array_equal(got.bag, data.bag)
    np.testing.assert_array_equal(got.y < 0, data.y < 0)
    assert got.classes == data.classes


@kinds
def test_the_seed_alone_decides(spoil):
    data = items()
    np.random.seed(1)
    one = spoil(data, 0.4, seed=5)
    np.random.seed(2)
    np.testing.assert_array_equal(one.y, spoil(data, 0.4, seed=5).y)
    assert (one.y != spoil(data, 0.4, seed=6).y).any()


def test_symmetric_noise_takes_all_other_classes_alike():
    data = items((4000, 4000, 4000, 4000))
    got = symmetric_noise(data, 0.5, seed=0).y
    for c in range(4):
        hit = np.bincount(got[(data.y == c) & (got != c)], minlength=4)
        assert hit[c] == 0
        assert chisquare(np.delete(hit, c)).pvalue > 1e-3


def test_proportional_noise_takes_other_classes_by_their_shares():
    counts = np.array([6000, 3000, 600, 0])
    data = items(tuple(counts))
    got = proportional_noise(data, 0.5, seed=0).y
    for c in range(3):
        hit = np.bincount(got[(data.y == c) & (got != c)], minlength=4)
        others = np.where(np.arange(4) == c, 0, counts)
        expected = hit.sum() * others / others.sum()
        assert hit[expected == 0].sum() == 0
        assert chisquare(hit[expected > 0], expected[expected > 0]).pvalue > 1e-3
    gained = np.bincount(got[(got != data.y)], minlength=4)
    uniform = symmetric_noise(data.take(data.y < 3), 0.5).y  # a rare class is swamped by that
    assert gained[2] < 0.5 * np.sum((uniform == 2) & (data.y != 2))


def test_asymmetric_noise_flips_what_it_names_and_nothing_else():
    data = items((400, 300, 200, 100))
    got = asymmetric_noise(data, 0.25, {"a": "b", "c": "d", "d": "c"}, seed=2).y
    table = np.zeros((4, 4), int)
    np.add.at(table, (data.y, got), 1)
    assert table.tolist() == [[300, 100, 0, 0], [0, 300, 0, 0], [0, 0, 150, 50], [0, 0, 25, 75]]


def test_other_labels_may_be_given():
    data = items()
    other = np.zeros(len(data), np.int64)
    got = replace_labels(data, other)
    np.testing.assert_array_equal(got.y, other)
    np.testing.assert_array_equal(got.x, data.x)
    with pytest.raises(ValueError, match="labels run from"):
        replace_labels(data, other + 7)
    with pytest.raises(ValueError, match="y has shape"):
        replace_labels(data, other[:5])


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
@pytest.mark.parametrize("spoil", [*KINDS, lambda d, r: asymmetric_noise(d, r, {"a": "b"})])
def test_a_rate_that_is_none_is_refused(spoil, rate):
    with pytest.raises(InputError, match="rate is"):
        spoil(items(), rate)


@kinds
def test_one_class_cannot_be_mislabelled(spoil):
    with pytest.raises(InputError, match="two classes"):
        spoil(items((20,)), 0.2)


def test_proportional_noise_needs_rows_to_take_shares_of():
    with pytest.raises(InputError, match="two classes with rows"):
        proportional_noise(items((20, 0)), 0.2)


@pytest.mark.parametrize("flips", [{"z": "a"}, {"a": "z"}])
def test_a_flip_of_a_class_that_there_is_not_is_refused(flips):
    with pytest.raises(UnknownName, match="no class is called 'z'"):
        asymmetric_noise(items(), 0.2, flips)
