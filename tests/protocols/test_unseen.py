"""Unseen classes: whose labels go, whose stay, and in which order classes are told."""

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.protocols import unseen_classes


def world():
    """Row i has feature i; five classes, two rows without a label, hints that name the class."""
    y = np.append(np.repeat(np.arange(5), [4, 6, 8, 10, 1]), [-1, -1])
    hints = np.arange(5, dtype=np.float32)[:, None]
    names = tuple("abcde")
    return Data(np.arange(31, dtype=np.float32)[:, None], y, names, class_embeddings=hints)


def test_each_row_is_labelled_or_answered_for_and_none_is_lost():
    data = world()
    step = unseen_classes(data, 2, seed=1)
    told = step.train.x[step.train.y >= 0, 0].astype(int)
    np.testing.assert_array_equal(step.train.x, data.x)
    assert set(told) | set(step.test_rows) == set(np.flatnonzero(data.y >= 0))
    assert not set(told) & set(step.test_rows)
    np.testing.assert_array_equal(step.test.x, data.x[step.test_rows])


@pytest.mark.parametrize("seed", range(5))
def test_labels_are_true_and_hidden_classes_have_none(seed):
    data = world()
    step = unseen_classes(data, 2, seed=seed)
    assert step.test.classes[:3] == step.train.classes
    assert sorted(step.test.classes) == sorted(data.classes)
    true = np.array([step.test.classes.index(data.classes[c]) if c >= 0 else -1 for c in data.y])
    told = step.train.y >= 0
    np.testing.assert_array_equal(step.train.y[told], true[told])
    np.testing.assert_array_equal(step.test.y, true[step.test_rows])
    for part in (step.train, step.test):
        np.testing.assert_array_equal(
            part.class_embeddings[:, 0], [data.classes.index(name) for name in part.classes]
        )


def test_the_share_of_labels_is_that_asked_for_and_at_least_one():
    data = world()
    for share in (0.01, 0.5, 1.0):
        step = unseen_classes(data, 2, labelled_fraction=share, seed=3)
        for c, name in enumerate(step.train.classes):
            n = np.sum(data.y == data.classes.index(name))
            assert np.sum(step.train.y == c) == max(1, round(share * n))


def test_the_seed_draws_classes_and_rows():
    data = world()
    hidden = {unseen_classes(data, 2, seed=s).test.classes[3:] for s in range(20)}
    assert len(hidden) > 4
    one, same = (unseen_classes(data, 2, seed=7) for _ in range(2))
    np.testing.assert_array_equal(one.train.y, same.train.y)


def test_what_cannot_be_hidden_is_refused():
    for hidden in (0, 5):
        with pytest.raises(InputError, match="cannot be hidden; hide 1 to 4"):
            unseen_classes(world(), hidden)
    for share in (0.0, 1.5):
        with pytest.raises(InputError, match="labelled_fraction is"):
            unseen_classes(world(), 2, labelled_fraction=share)
