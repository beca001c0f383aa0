"""Which candidates may be the best by mean average precision, and the score after the choice."""

import numpy as np
import pytest

from ilk.multilabel.average_precision import draw_counts, mean_average_precision
from ilk.multilabel.leaderboard import CandidateDraws, LabelCandidate, rank_candidates_by_label
from ilk.multilabel.metrics import score_labels

LABELS = ("a", "b", "c")


def make_board(strengths, n=200, seed=0):
    """Return targets `[n, 3]`, candidates and their draws; scores share most of their noise."""
    rng = np.random.default_rng(seed)
    targets = rng.random((n, 3)) < 0.25
    common, counts = rng.standard_normal((n, 3)), draw_counts(n, 300, seed)
    results, draws = [], []
    for i, strength in enumerate(strengths):
        score = strength * targets + 0.75 * common + 0.66 * rng.standard_normal((n, 3))
        p = 1 / (1 + np.exp(-score))
        scores = score_labels(LABELS, targets, p, p > 0.5, counts, None)
        results.append(LabelCandidate("e", f"m{i}", scores, 1.0))
        draws.append(CandidateDraws.compute(targets, p, counts))
    return targets, results, draws


def test_ties_are_of_all_candidates_together():
    """Of 10 equal candidates one is called worse on a few boards of 8; the hopeless one always."""
    n_wrong = 0
    for seed in range(8):
        _, results, draws = make_board([1.5] * 10 + [0.3], seed=seed)
        order, ranked, _ = rank_candidates_by_label(results, draws)
        assert ranked[0].is_tied
        assert not ranked[order.index(10)].is_tied
        n_wrong += sum(r.is_tied for r in ranked) < 10
    assert n_wrong <= 3


def test_a_candidate_without_scores_is_last_and_not_tied():
    _, results, draws = make_board([1.5, 1.4])
    failed = LabelCandidate("e", "broken", None, 0.0, "no")
    order, ranked, _ = rank_candidates_by_label([failed, *results], [None, *draws])
    assert order[-1] == 0
    assert not ranked[-1].is_tied
    with pytest.raises(ValueError, match="no candidate has scores"):
        rank_candidates_by_label([failed], [None])


def test_the_corrected_score_lies_in_its_interval_of_the_width_of_all_rows():
    targets, results, draws = make_board([1.5] * 10)
    order, ranked, corrected = rank_candidates_by_label(results, draws)
    best = ranked[0].scores.mean_average_precision
    assert corrected.low < corrected.value < corrected.high
    assert corrected.value < best.value  # the best of ten looks better than it is
    assert corrected.low < best.value < corrected.high
    luck = best.value - corrected.value
    width = corrected.high - corrected.low - luck
    assert width == pytest.approx(best.high - best.low, rel=0.1)
    undrawn = np.quantile(draws[order[0]].outside, [0.025, 0.975])
    assert undrawn[1] - undrawn[0] > 1.3 * width
    assert mean_average_precision(targets, targets.astype(float)) == 1
