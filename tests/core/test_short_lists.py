"""The first of many names in a sentence."""

import pytest

from ilk.core.short_lists import list_first


@pytest.mark.parametrize(
    ("n_names", "expected"),
    [(0, ""), (1, "0"), (2, "0; 1"), (3, "0; 1 and 1 more"), (1502, "0; 1 and 1,500 more")],
)
def test_the_others_are_counted(n_names, expected):
    assert list_first([str(i) for i in range(n_names)], 2, "; ") == expected
