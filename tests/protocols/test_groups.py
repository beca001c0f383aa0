"""No protocol that splits rows has one group in its training rows and in its test rows."""

from dataclasses import replace

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.protocols import cross_validation_steps as steps_of
from ilk.protocols import few_labels, few_shot, one_class_split, stratified_folds


def make_bursts(n_bursts=40, size=4, k=3):
    """Bursts of four near-identical shots; a burst is a group, the classes alternate."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(n_bursts), size)
    x = rng.standard_normal((n_bursts, 5))[group] + 0.01 * rng.standard_normal((len(group), 5))
    order = rng.permutation(len(group))
    names = tuple(f"class {c}" for c in range(k))
    return Data(x[order].astype(np.float32), (group % k)[order], names, group=group[order])


SPLITS = {
    "few_shot": lambda data: [few_shot(data, 3)],
    "few_labels": lambda data: [few_labels(data, 3)],
    "one_class_split": lambda data: [one_class_split(data, "class 0")],
    "cross_validation": lambda data: list(
        steps_of(data, stratified_folds(data.y, 5, 0, data.group))
    ),
}


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
def test_no_group_is_in_train_and_test(split):
    for step in split(make_bursts()):
        labelled = step.train.take_labelled()
        assert len(labelled)
        assert len(step.test)
        assert not set(labelled.group) & set(step.test.group)


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
def test_single_rows_are_split_as_without_groups(split):
    data = make_bursts()
    ungrouped = replace(data, group=np.full(len(data), -1))
    own_group = replace(data, group=np.arange(len(data)))
    for one, other in zip(split(ungrouped), split(own_group), strict=True):
        np.testing.assert_array_equal(one.test_rows, other.test_rows)
        np.testing.assert_array_equal(one.train.x, other.train.x)


def test_a_split_that_groups_make_impossible_is_refused():
    data = make_bursts()
    one_group = replace(data, group=np.zeros(len(data), np.int64))
    with pytest.raises(InputError, match="shares a group with a training row"):
        few_shot(one_group, 2)
    with pytest.raises(InputError, match="shares a group with a test row"):
        one_class_split(one_group, "class 1")
