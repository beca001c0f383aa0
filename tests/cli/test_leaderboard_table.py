"""The leaderboard in the terminal: marks, legend, and the accuracy after the choice."""

import pytest

from ilk.cli.tables import show_leaderboard
from ilk.core.leaderboard import CandidateResult
from ilk.core.metrics import Interval, Scores, wilson_interval


def make_result(method, accuracy, *, is_tied=False):
    scores = Scores(100, wilson_interval(100 * accuracy, 100), accuracy, 0.5, 0.02)
    return CandidateResult("hog", method, scores, 1.0, is_tied=is_tied)


@pytest.mark.parametrize("n_candidates", [1, 3])
def test_the_accuracy_after_the_choice_is_printed_where_there_was_one(capsys, n_candidates):
    results = [
        make_result("GDA()", 0.9, is_tied=True),
        make_result("Ridge()", 0.88, is_tied=True),
        make_result("NaiveBayes()", 0.6),
    ]
    failed = CandidateResult("hog", "Broken()", None, 0.0, "no")
    show_leaderboard([*results[:n_candidates], failed], Interval(0.87, 0.8, 0.92))
    text = capsys.readouterr().out
    assert "* GDA()" in text
    assert ("= Ridge()" in text) is (n_candidates == 3)
    assert "= NaiveBayes()" not in text
    assert "may be as good" in text
    wanted = (
        f"accuracy of the winner, corrected for the choice among {n_candidates} candidates: 0.870"
    )
    assert (wanted in text) is (n_candidates > 1)
