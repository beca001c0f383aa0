"""One class is normal: what is learnt from, what is answered for, and what is not used."""

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.errors import InputError, UnknownName
from ilk.protocols import one_class_split

Y = np.array([0, 1, 2, 1, -1, 1, 0, 1, 1, 2, -1, 1])
DATA = Data(
    np.arange(12.0)[:, None],
    Y,
    ("a", "b", "c"),
    domain=np.arange(12) % 3,
    class_embeddings=np.ones((3, 2)),
)


def test_only_normal_rows_are_learnt_from_and_no_tested_row_is():
    step = one_class_split(DATA, "b", test_fraction=0.34, seed=5)
    train, test = step.train.x[:, 0].astype(int), step.test.x[:, 0].astype(int)
    assert (Y[train] == 1).all()
    assert len(train) == 4  # six are normal, two of them held out
    assert not set(train) & set(test)
    assert sorted([*train, *test]) == list(np.flatnonzero(Y >= 0))
    np.testing.assert_array_equal(step.test_rows, test)


def test_the_answer_is_0_for_normal_rows_and_1_for_all_others():
    step = one_class_split(DATA, "b", seed=5)
    assert step.train.classes == step.test.classes == ("normal", "anomalous")
    assert (step.train.y == 0).all()
    np.testing.assert_array_equal(step.test.y, (Y[step.test_rows] != 1).astype(int))
    assert step.test.class_embeddings is None
    np.testing.assert_array_equal(step.test.domain, DATA.domain[step.test_rows])
    assert not step.warm_start


def test_a_seed_draws_which_normal_rows_are_held_out():
    same = [one_class_split(DATA, "b", seed=1).test_rows for _ in range(2)]
    np.testing.assert_array_equal(*same)
    drawn = {tuple(one_class_split(DATA, "b", seed=s).test_rows) for s in range(20)}
    assert len(drawn) > 5


@pytest.mark.parametrize(("held", "kept"), [(1e-9, 1), (0.5, 1), (1 - 1e-9, 1)])
def test_two_normal_rows_are_one_each_whatever_the_share(held, kept):
    step = one_class_split(DATA, "a", test_fraction=held)
    assert len(step.train) == 1
    assert np.sum(step.test.y == 0) == kept


def test_the_data_are_left_as_they_were():
    before = DATA.y.copy()
    one_class_split(DATA, "c")
    np.testing.assert_array_equal(DATA.y, before)


def test_what_cannot_be_is_refused():
    with pytest.raises(UnknownName, match="the nearest"):
        one_class_split(DATA, "B")
    with pytest.raises(InputError, match="the normal class needs at least two"):
        one_class_split(DATA.take([0, 1, 2]), "a")
    for share in (0, 1, 1.2, float("nan")):
        with pytest.raises(InputError, match="test_fraction is"):
            one_class_split(DATA, "b", test_fraction=share)
