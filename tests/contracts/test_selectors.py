"""What every selector owes, checked for every file of `ilk.subset_selection.selectors`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.errors import InputError, UnknownName
from ilk.subset_selection.selectors import list_selectors, parse_selector
from ilk.subset_selection.selectors.selector import SelectorTags

SELECTORS = [text for kind in list_selectors().values() for text in kind.list_candidates()]


def make_rows():
    """Ninety rows of three classes, and twelve of a target near the second."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 30)
    means = 3 * rng.standard_normal((3, 5))
    x = (means[y] + rng.standard_normal((90, 5))).astype(np.float32)
    t = (means[1] + rng.standard_normal((12, 5))).astype(np.float32)
    classes = ("a", "b", "c")
    return Data(x, y, classes), Data(t, np.full(12, -1), classes)


def check_selector(selector):
    """Raise where a selector breaks the contract."""
    source, target = make_rows()
    before = source.x.copy(), target.x.copy()
    scores = selector.score(source, target, 3)
    assert scores.shape == (90,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(selector.score(source, target, 3), scores)
    np.testing.assert_array_equal(source.x, before[0])
    np.testing.assert_array_equal(target.x, before[1])
    if not selector.needs_target:
        np.testing.assert_array_equal(selector.score(source, None, 3), scores)
    else:
        with pytest.raises(ValueError, match="target"):
            selector.score(source, None, 3)
        unseen = replace(source, y=np.full(90, -1))
        assert np.isfinite(selector.score(unseen, target, 3)).all()
    same = source.take(np.repeat(np.arange(3) * 30, 4))  # four copies of one row of each class
    assert np.isfinite(selector.score(same, target, 0)).all()


@pytest.mark.parametrize("text", SELECTORS)
def test_contract(text):
    check_selector(parse_selector(text))


@pytest.mark.parametrize("text", [t for t in SELECTORS if parse_selector(t).needs_target])
def test_rows_like_the_target_come_first(text):
    source, target = make_rows()
    scores = parse_selector(text).score(source, target, 0)
    assert (source.y[np.argsort(-scores)[:20]] == 1).all()


def test_the_suite_sees_a_selector_that_changes_with_each_call():
    calls = []

    @dataclass(frozen=True)
    class Restless(SelectorTags):
        def score(self, source, _target, _seed):
            calls.append(1)
            return np.full(len(source), float(len(calls)))

    with pytest.raises(AssertionError):
        check_selector(Restless())


def test_names_and_settings_are_read_from_text():
    assert parse_selector("EL2N(hard=True)").hard
    with pytest.raises(UnknownName, match="Herding"):
        parse_selector("Hering")
    with pytest.raises(InputError, match="folds"):
        parse_selector("EL2N(folds=1)")
    with pytest.raises(InputError, match="mapping"):
        parse_selector("SourcePruning(mapping='name')")
    with pytest.raises(InputError, match="relevance"):
        parse_selector("ColorFilter(relevance=0.0)")
    for text in ("NearestTarget(neighbours=0)", "KCenter(projected=0)", "Forgetting(steps=1)"):
        with pytest.raises(InputError, match="at least"):
            parse_selector(text)
