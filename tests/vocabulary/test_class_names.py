"""Class names of a user as sets of ImageNet's classes."""

import numpy as np
import pytest

from ilk.core.errors import InputError
from ilk.vocabulary.class_names import UnknownClassNames, read_class_names

DOGS, LION = range(151, 269), 291


def test_a_name_stands_for_all_classes_below_it():
    names = read_class_names(["dog", "cat"])
    assert set(np.flatnonzero(names.class_of == 0)) == set(DOGS)
    assert {281, 282, 283, 284, 285} <= set(np.flatnonzero(names.class_of == 1))
    assert (names.class_of == -1).sum() > 800


@pytest.mark.parametrize("order", [["cat", "lion"], ["lion", "cat"]])
def test_a_class_under_two_names_counts_for_the_more_specific_one(order):
    names = read_class_names(order)
    assert order[names.class_of[LION]] == "lion"
    assert (names.class_of == order.index("lion")).sum() == 1
    assert order[names.class_of[292]] == "cat"  # a tiger is a (big) cat


def test_the_rest_of_everything_is_a_class():
    names = read_class_names(["dog", "entity"])
    np.testing.assert_array_equal(np.flatnonzero(names.class_of == 0), DOGS)
    assert (names.class_of >= 0).all()


def test_rarer_senses_and_several_senses_are_told():
    assert read_class_names(["dog", "horse"]).describe_senses() == []
    (mouse,) = read_class_names(["mouse", "dog"]).describe_senses()
    assert mouse == "mouse is read as mouse (computer mouse), a kind of electronic device"
    (crane,) = read_class_names(["dog", "crane"]).describe_senses()
    assert "write crane (device) or crane (bird) for one of them" in crane
    assert read_class_names(["crane (bird)", "crane (device)"]).describe_senses() == []


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["dog", "domestic dog"], "dog and domestic dog stand for the same ImageNet classes"),
        (["dog", "Dogs"], "dog and Dogs stand for the same"),
        (["dog", " "], "a class name is empty"),
        (["crane", "crane (bird)", "crane (device)"], "also counts for crane .bird. or crane"),
    ],
)
def test_names_that_cannot_be_told_apart_are_refused(names, sentence):
    with pytest.raises(InputError, match=sentence):
        read_class_names(names)


def test_all_unknown_names_are_listed_with_similar_ones():
    with pytest.raises(UnknownClassNames) as caught:
        read_class_names(["giraffe", "dog", "guitr"])
    assert caught.value.names == ("giraffe", "guitr")
    assert "giraffe and guitr (similar: guitar) are neither" in str(caught.value)
    assert "\n" not in str(caught.value)
