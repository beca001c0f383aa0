"""Leaderboards: stable, of one length, and independent of the order of rows."""

from __future__ import annotations

import numpy as np
import pytest

from ilk.core.errors import InputError
from ilk.core.metrics import softmax
from ilk.transduction.pseudolabels import (
    fill_leaderboards,
    label_in_rounds,
    plan_sizes,
    select_confident,
)


def draw(n: int = 40, k: int = 5, seed: int = 0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(size=(n, k)) + np.linspace(2, 0, k)
    return softmax(2 * logits, axis=1)


def is_stable(scores: np.ndarray, labels: np.ndarray, size: int) -> bool:
    """Whether no row and class would both rather have each other: the definition, pair by pair."""
    for i, row in enumerate(scores):
        for c, score in enumerate(row):
            board = np.flatnonzero(labels == c)
            wants = labels[i] < 0 or score > row[labels[i]]
            has_place = len(board) < size or score > scores[board, c].min()
            if wants and has_place:
                return False
    return True


@pytest.mark.parametrize("size", [1, 3, 8, 9, 100])
@pytest.mark.parametrize("seed", range(4))
def test_boards_are_stable_and_of_one_length(size: int, seed: int) -> None:
    scores = draw(seed=seed)
    labels = fill_leaderboards(scores, size)
    assert np.bincount(labels[labels >= 0], minlength=5).max() <= size
    assert (labels >= 0).sum() == min(40, 5 * size)  # no place and no row is wasted
    assert is_stable(scores, labels, size)


def test_boards_that_are_long_enough_hold_the_predicted_class() -> None:
    scores = draw()
    assert np.array_equal(fill_leaderboards(scores, 40), scores.argmax(1))


def test_boards_of_classes_without_rivals_are_the_best_rows_of_each() -> None:
    """Where no row is wanted by two classes, the boards are a sort per class."""
    scores = np.kron(np.eye(3), np.arange(1, 9)[:, None]) / 10
    labels = fill_leaderboards(scores, 3)
    assert [list(np.flatnonzero(labels == c)) for c in range(3)] == [
        [5, 6, 7], [13, 14, 15], [21, 22, 23],
    ]  # fmt: skip


def test_a_row_without_a_place_enters_the_board_of_its_next_best_class() -> None:
    scores = np.array([[0.9, 0.05, 0.05], [0.8, 0.15, 0.05], [0.7, 0.1, 0.2], [0.1, 0.12, 0.78]])
    assert list(fill_leaderboards(scores, 1)) == [0, 1, -1, 2]


def test_the_order_of_rows_does_not_matter() -> None:
    scores = draw(60)
    order = np.random.default_rng(1).permutation(60)
    assert np.array_equal(fill_leaderboards(scores[order], 7), fill_leaderboards(scores, 7)[order])


def test_boards_are_more_even_than_a_threshold() -> None:
    scores = draw(400)
    even, sure = fill_leaderboards(scores, 20), select_confident(scores, 0.9)
    counts = [np.bincount(labels[labels >= 0], minlength=5) for labels in (even, sure)]
    assert np.ptp(counts[0]) == 0
    assert np.ptp(counts[1]) > 20


def test_a_threshold_takes_what_is_at_least_as_sure() -> None:
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]])
    assert list(select_confident(p, 0.6)) == [0, 1, -1]
    with pytest.raises(InputError):
        select_confident(p, 1.1)


def test_rounds_grow_to_all_rows() -> None:
    assert plan_sizes(1000, 10, 16, 1) == [16]
    assert plan_sizes(1000, 10, size=4, rounds=3) == [4, 4, 4]
    assert plan_sizes(1000, 10) == [10 * i for i in range(1, 11)]
    for n, k in ((7, 3), (3, 7), (101, 10)):
        sizes = plan_sizes(n, k)
        assert sizes == sorted(sizes)
        assert sizes[0] >= 1
        assert (fill_leaderboards(draw(n, k), sizes[-1]) >= 0).all()


def test_each_round_learns_from_what_the_last_one_predicts() -> None:
    seen: list[np.ndarray] = []

    def learn(labels: np.ndarray, number: int) -> int:
        seen.append(labels)
        return number

    model = label_in_rounds(draw(), [2, 4, 8], learn, lambda number: draw(seed=number + 1))
    assert model == 2
    for i, size in enumerate((2, 4, 8)):
        assert np.array_equal(seen[i], fill_leaderboards(draw(seed=i), size))


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(InputError):
        fill_leaderboards(draw(), 0)
    with pytest.raises(InputError):
        fill_leaderboards(np.array([[0.1, np.nan]]), 1)
    for wrong in ({"size": 0}, {"rounds": 0}):
        with pytest.raises(InputError):
            plan_sizes(10, 2, **wrong)
