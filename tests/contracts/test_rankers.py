"""What every transferability score owes, checked for every file of `ilk.ranking` that is one."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from ilk.core.errors import InputError, NoLabels
from ilk.core.metrics import softmax
from ilk.ranking import check_labelled, list_scores, logme

RANKERS = list_scores()


def make_classes():
    """Ninety rows of three Gaussian classes with four features, and their labels."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 30)
    return 2 * rng.standard_normal((3, 4))[y] + rng.standard_normal((90, 4)), y


def check_ranker(ranker):
    """Raise where a score breaks the contract."""
    x, y = make_classes()
    x = x if ranker.INPUT_KIND == "features" else softmax(x, axis=1)
    before = x.copy()
    plain = ranker.score(x, y)
    assert isinstance(plain, float)
    assert np.isfinite(plain)
    assert ranker.score(x, y) == plain
    np.testing.assert_array_equal(x, before)
    unlabelled = x[:9] if ranker.INPUT_KIND == "source" else x[:9] + 40
    more = np.vstack([x, unlabelled])
    assert ranker.score(more, np.append(y, [-1] * 9)) == pytest.approx(plain)
    assert ranker.score(x, np.array([5, 0, 9])[y]) == pytest.approx(plain)
    order = np.random.default_rng(0).permutation(90)
    assert ranker.score(x[order], y[order]) == pytest.approx(plain)
    for bad_y, error, match in (
        (np.full(90, -1), NoLabels, "there are none"),
        (np.zeros(90, int), InputError, "one class"),
        (y[:-1], InputError, "do not match"),
    ):
        with pytest.raises(error, match=match):
            ranker.score(x, bad_y)
    bad = x.copy()
    bad[3, 1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        ranker.score(bad, y)


@pytest.mark.parametrize("ranker", RANKERS.values(), ids=RANKERS)
def test_a_ranker_keeps_the_contract(ranker):
    check_ranker(ranker)


@pytest.mark.parametrize("ranker", RANKERS.values(), ids=RANKERS)
def test_a_ranker_cites_its_paper(ranker):
    text = sys.modules[ranker.__name__].__doc__
    assert re.search(r"arXiv \d{4}\.\d{4,5}|doi:10\.\d{4,}/\S+", text)


def test_a_helper_is_not_taken_for_a_ranker():
    assert {ranker.__name__.rpartition(".")[2] for ranker in RANKERS.values()}.isdisjoint(
        {"rank", "transferability", "source_probabilities"}
    )


def make_faulty(change):
    """A ranker that is LogME but for one fault."""
    return SimpleNamespace(NAME="faulty", INPUT_KIND="features", score=change)


def test_planted_faults_are_found():
    def ignores_missing_labels(x, y):
        check_labelled(x, y)
        return float(np.var(x))

    def depends_on_order(x, y):
        rows, _ = check_labelled(x, y)
        return float(rows[0, 0])

    def depends_on_names(x, y):
        check_labelled(x, y)
        return float(np.max(y)) + logme.score(x, y)

    def changes_its_input(x, y):
        result = logme.score(x, y)
        x += 1.0
        return result

    def is_not_finite(x, y):
        return logme.score(x, y) * float("nan")

    def accepts_anything(x, y):
        return 1.0

    check_ranker(make_faulty(logme.score))
    for fault in (
        ignores_missing_labels,
        depends_on_order,
        depends_on_names,
        changes_its_input,
        is_not_finite,
        accepts_anything,
    ):
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            check_ranker(make_faulty(fault))
