"""`group_from="duplicates"` is a setting of a fit, and excludes other groups."""

from __future__ import annotations

import numpy as np
import pytest

from ilk.core.errors import InputError
from ilk.fitting.config import FitConfig
from ilk.fitting.duplicate_leaks import _compare
from ilk.fitting.settings import take_duplicates


def test_setting_becomes_one_of_the_fit():
    settings = {"group_from": "duplicates", "folds": 3}
    assert take_duplicates(settings) == {"folds": 3, "group_duplicates": True}
    assert take_duplicates({"group_from": "(p[0-9]+)_"}) == {"group_from": "(p[0-9]+)_"}


@pytest.mark.parametrize("other", [{"group_column": "patient"}, {"groups": ["a", "b"]}])
def test_groups_given_twice(other):
    with pytest.raises(InputError, match="given twice"):
        take_duplicates({"group_from": "duplicates", **other})


def test_several_labels():
    with pytest.raises(InputError, match="one class per image"):
        FitConfig(multi_label=True, group_duplicates=True)


def test_a_drop_counts_groups_not_images():
    right, wrong = np.ones(40, bool), np.zeros(40, bool)
    alone, together = np.arange(40), np.repeat(np.arange(2), 20)
    few = np.where(np.arange(40) < 20, wrong, right)  # one group of 20 copies is lost
    assert _compare("test", [right, few], alone, 20).is_lower
    assert not _compare("test", [right, few], together, 20).is_lower
    assert not _compare("test", [right, right], alone, 20).is_lower
