"""`Data`: what is checked when it is made, and what its verbs keep."""

import numpy as np
import pytest

from ilk.core.data import Data, one_hot
from ilk.core.errors import InputError, UnknownName


def made(n=6, **other):
    rng = np.random.default_rng(0)
    given = {
        "x": rng.normal(size=(n, 3)).astype(np.float32),
        "y": np.arange(n) % 3 - 1,
        "classes": ("cat", "owl"),
    }
    return Data(**given | other)


def test_what_is_not_told_is_filled_in():
    data = made()
    assert data.domain.tolist() == [0] * 6
    assert data.bag.tolist() == [0, 1, 2, 3, 4, 5]
    assert data.k == 2
    assert len(data) == 6
    assert data.y.dtype == data.bag.dtype == data.domain.dtype == np.int64


def test_arrays_cannot_be_written_and_the_givers_own_stay_writable():
    x = np.zeros((6, 2), np.float32)
    data = made(x=x, class_embeddings=np.zeros((2, 4), np.float32))
    for array in (data.x, data.y, data.domain, data.bag, data.class_embeddings):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    x[0] = 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"y": np.zeros(5, int)}, r"y has shape \(5,\); 6 items need \(6,\)"),
        ({"domain": np.zeros((6, 1), int)}, r"domain has shape \(6, 1\)"),
        ({"bag": [0, 1]}, r"bag has shape \(2,\)"),
        ({"y": [0, 1, 2, 0, 0, 0]}, "labels run from 0 to 2; 2 classes allow -1"),
        ({"y": [0, 1, -2, 0, 0, 0]}, "labels run from -2 to 1"),
        ({"y": [0, 1, 0.5, 0, 0, 0]}, "y holds 0.5, which is not a whole number"),
        ({"class_embeddings": np.zeros((3, 4))}, "3 class embeddings for 2 classes"),
        ({"classes": ("cat", "cat")}, "a class is named twice"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(wrong, said):
    with pytest.raises(ValueError, match=said):
        made(**wrong)


def test_labelled_and_unlabelled_part_the_rows():
    data = made(9)
    known, unknown = data.take_labelled(), data.take_unlabelled()
    assert (known.y >= 0).all()
    assert (unknown.y == -1).all()
    assert sorted([*known.bag, *unknown.bag]) == list(range(9))
    assert data.count_labels().tolist() == [3, 3]


def test_rows_by_mask_and_by_position_agree_and_keep_every_field_in_step():
    data = made(9, domain=np.arange(9) * 10, bag=np.arange(9) * 100)
    mask = np.array([1, 0, 1, 1, 0, 0, 0, 1, 0], bool)
    for cut in (data.take(mask), data.take(np.flatnonzero(mask)), data.take([0, 2, 3, 7])):
        np.testing.assert_array_equal(cut.x, data.x[mask])
        np.testing.assert_array_equal(cut.y, data.y[mask])
        assert cut.domain.tolist() == [0, 20, 30, 70]
        assert cut.bag.tolist() == [0, 200, 300, 700]
    assert len(data.take([])) == 0
    assert data.take([]).count_labels().tolist() == [0, 0]


def test_only_keeps_the_class_list_and_names_an_unknown_class():
    data = made(9)
    owls = data.take_classes(["owl"])
    assert set(owls.y) == {1}
    assert owls.classes == data.classes
    with pytest.raises(UnknownName, match="no class is called 'owll'; the nearest is owl"):
        data.take_classes(["owll"])


def test_concat_undoes_a_cut_and_refuses_other_classes():
    data = made(9, domain=np.arange(9))
    whole = data.take(np.arange(4)).concat(data.take(np.arange(4, 9)))
    for name in ("x", "y", "domain", "bag"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(data, name))
    with pytest.raises(ValueError, match="classes differ"):
        data.concat(made(classes=("cat", "dog")))


def test_one_hot_counts_by_its_columns_and_leaves_the_unknown_empty():
    data = made(9)
    members = one_hot(data.y, data.k)
    np.testing.assert_array_equal(members.sum(0), data.count_labels())
    np.testing.assert_array_equal(members.sum(1), data.y >= 0)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_and_named(odd):
    x = np.zeros((5, 3), np.float32)
    x[3, 1] = odd
    with pytest.raises(InputError, match=r"item 3 are not all finite \(1 such"):
        Data(x, [0, 1, -1, -1, 0], ("a", "b"))
    assert len(Data(np.full((2, 2), 1e308), [0, 1], ("a", "b"))) == 2  # their sum is not finite
