"""A claim is settled by paired differences, seed by seed."""

import pytest
from scipy.stats import ttest_rel

from ilk.bench._family import Claim, table

OURS = [0.81, 0.84, 0.79, 0.90, 0.83]
THEIRS = [0.80, 0.82, 0.78, 0.88, 0.83]


def settled(ours, theirs, better="higher"):
    made = table("a set", "accuracy", {"a": ours, "b": theirs}, [Claim("r", "f", "a", "b")], better)
    return made["claims"][0]


def test_the_interval_is_that_of_the_paired_t_test():
    found = settled(OURS, THEIRS)["difference"]
    told = ttest_rel(OURS, THEIRS).confidence_interval(0.95)
    assert found["mean"] - found["half_width"] == pytest.approx(told.low)
    assert found["mean"] + found["half_width"] == pytest.approx(told.high)


def test_a_verdict_needs_an_interval_without_zero():
    assert settled(OURS, [v - 0.05 for v in THEIRS])["verdict"] == "ahead"
    assert settled([v - 0.05 for v in OURS], THEIRS)["verdict"] == "behind"
    assert settled(OURS, OURS[::-1])["verdict"] == "not told apart"
    assert settled([0.9], [0.1])["verdict"] == "not told apart"  # of one seed nothing is known


def test_where_less_is_better_the_sign_turns():
    found = settled([0.1, 0.12, 0.11], [0.2, 0.23, 0.2], "lower")
    assert found["difference"]["mean"] > 0
    assert found["verdict"] == "ahead"


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="1, 2"):
        settled([0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match="'c'"):
        table("a set", "accuracy", {"a": OURS}, [Claim("r", "f", "a", "c")])
