"""A claim is settled by paired differences, seed by seed."""

import pytest
from scipy.stats import ttest_rel

from benchmarks.claims import Claim, make_table

OURS = [0.81, 0.84, 0.79, 0.90, 0.83]
THEIRS = [0.80, 0.82, 0.78, 0.88, 0.83]


def evaluate(ours, theirs, better="higher"):
    table = make_table(
        "a set", "accuracy", {"a": ours, "b": theirs}, [Claim("r", "f", "a", "b")], better
    )
    return table["claims"][0]


def test_the_interval_is_that_of_the_paired_t_test():
    claim = evaluate(OURS, THEIRS)["difference"]
    expected = ttest_rel(OURS, THEIRS).confidence_interval(0.95)
    assert claim["mean"] - claim["half_width"] == pytest.approx(expected.low)
    assert claim["mean"] + claim["half_width"] == pytest.approx(expected.high)


def test_a_verdict_needs_an_interval_without_zero():
    assert evaluate(OURS, [v - 0.05 for v in THEIRS])["verdict"] == "ahead"
    assert evaluate([v - 0.05 for v in OURS], THEIRS)["verdict"] == "behind"
    assert evaluate(OURS, OURS[::-1])["verdict"] == "not significant"
    assert evaluate([0.9], [0.1])["verdict"] == "not significant"  # of one seed nothing is known


def test_the_sign_flips_where_lower_is_better():
    claim = evaluate([0.1, 0.12, 0.11], [0.2, 0.23, 0.2], "lower")
    assert claim["difference"]["mean"] > 0
    assert claim["verdict"] == "ahead"


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="1, 2"):
        evaluate([0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match="'c'"):
        make_table("a set", "accuracy", {"a": OURS}, [Claim("r", "f", "a", "c")])
