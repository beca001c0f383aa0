"""Tasks bring each class once, with the rows they are due."""

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.protocols import class_tasks, few_shot_increments

NAMES = tuple("abcdefg")


def world(n=140, seed=0, unlabelled=0):
    """Rows whose only number is their position, so that each can be told from all others."""
    y = np.arange(n) % len(NAMES)
    y = np.random.default_rng(seed).permutation(y)
    y[:unlabelled] = -1
    return Data(np.arange(n, dtype=np.float32)[:, None], y, NAMES)


def places(data):
    return data.x[:, 0].astype(int)


def test_every_class_comes_once_with_all_its_rows_and_nobody_elses():
    train, test = world(unlabelled=9), world(70, seed=1, unlabelled=3)
    steps = list(class_tasks(train, test, [3, 2, 2], seed=4))
    brought = [set(step.train.y.tolist()) for step in steps]
    assert [len(b) for b in brought] == [3, 2, 2]
    assert set.union(*brought) == set(range(7))
    for step, new in zip(steps, brought, strict=True):
        np.testing.assert_array_equal(places(step.train), np.flatnonzero(np.isin(train.y, [*new])))
        assert step.train.classes == NAMES
    assert [step.warm_start for step in steps] == [False, True, True]


def test_each_step_answers_for_all_classes_so_far_and_says_which_rows_these_are():
    train, test = world(), world(70, seed=1, unlabelled=3)
    so_far = set()
    for step in class_tasks(train, test, [3, 2, 2], seed=4):
        so_far |= set(step.train.y.tolist())
        np.testing.assert_array_equal(step.test_rows, np.flatnonzero(np.isin(test.y, [*so_far])))
        np.testing.assert_array_equal(places(step.test), step.test_rows)
        np.testing.assert_array_equal(step.test.y, test.y[step.test_rows])


def test_the_seed_draws_the_order_and_nothing_else_does():
    def order(seed):
        steps = class_tasks(world(), world(), [1] * 7, seed)
        return [int(step.train.y[0]) for step in steps]

    np.random.seed(3)
    assert order(0) == order(0)
    assert len({tuple(order(s)) for s in range(8)}) == 8
    first = [order(s)[0] for s in range(200)]
    assert set(first) == set(range(7))


def test_classes_may_be_left_for_never():
    steps = list(class_tasks(world(), world(), [2, 2], seed=0))
    assert len(set(steps[-1].test.y.tolist())) == 4


def test_increments_have_so_many_rows_a_class_and_the_base_has_all():
    train, test = world(), world(70, seed=1)
    steps = list(few_shot_increments(train, test, n_base=3, n_new=3, shots=4, seed=2))
    assert [len(np.unique(step.train.y)) for step in steps] == [3, 3, 1]  # the rest comes last
    assert len(steps[0].train) == 60
    for step in steps[1:]:
        assert set(np.bincount(step.train.y)[np.unique(step.train.y)]) == {4}
        np.testing.assert_array_equal(step.train.y, train.y[places(step.train)])
        assert len(set(places(step.train))) == len(step.train)
        assert step.warm_start
    whole = list(class_tasks(train, test, [3, 3, 1], seed=2))
    for few, many in zip(steps, whole, strict=True):
        np.testing.assert_array_equal(few.test_rows, many.test_rows)


def test_which_rows_are_shown_is_drawn():
    def shown(seed):
        steps = list(few_shot_increments(world(), world(), 6, 1, 2, seed))
        return {int(steps[-1].train.y[0]): tuple(places(steps[-1].train))}

    drawn = {}
    for seed in range(60):
        for c, rows in shown(seed).items():
            drawn.setdefault(c, set()).add(rows)
    assert all(len(rows) > 1 for rows in drawn.values())
    assert shown(5) == shown(5)


@pytest.mark.parametrize("sizes", [[], [0, 2], [4, 4], [-1]])
def test_tasks_that_do_not_fit_are_refused(sizes):
    with pytest.raises(InputError, match="do not fit 7 classes"):
        list(class_tasks(world(), world(), sizes))


def test_a_class_that_nothing_can_be_learnt_of_is_refused():
    data = world()
    with pytest.raises(InputError, match="'c' has no training row"):
        list(class_tasks(data.take(data.y != 2), data, [7]))


def test_parts_that_name_other_classes_are_refused():
    other = Data(np.zeros((7, 1), np.float32), np.arange(7), tuple("hijklmn"))
    with pytest.raises(InputError, match="have different classes"):
        list(class_tasks(world(), other, [2, 2]))


@pytest.mark.parametrize(
    ("base", "size", "shots", "match"),
    [
        (7, 1, 2, "leave none to add"),
        (3, 0, 2, "leave none to add"),
        (3, 2, 0, "0 shots cannot be drawn"),
        (3, 2, 21, "21 shots cannot be drawn of '[a-g]'"),
        (0, 2, 2, "do not fit"),
    ],
)
def test_increments_that_cannot_be_are_refused(base, size, shots, match):
    with pytest.raises(InputError, match=match):
        list(few_shot_increments(world(), world(), base, size, shots))
