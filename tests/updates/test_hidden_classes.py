"""The score of unknown images that hidden classes choose, and how it is measured."""

from dataclasses import dataclass

import numpy as np

from ilk.trust.known_rows import UnknownScore
from ilk.trust.unknown_scores import list_unknown_scores
from ilk.updates.hidden_classes import _iterate_trials, choose_unknown_score

RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Blind(UnknownScore):
    """Sees nothing."""

    label = "blind"
    is_default = True

    def fit(self, known):
        return lambda x: np.zeros(len(x))


@dataclass(frozen=True)
class Oracle(UnknownScore):
    """Remembers which places had known rows: the last feature is the number of the class."""

    label = "oracle"

    def fit(self, known):
        places = np.unique(known.x[:, -1])
        return lambda x: (~np.isin(x[:, -1], places)).astype(float)


def rows(k=6, n=20):
    y = np.repeat(np.arange(k), n)
    return np.column_stack([RNG.standard_normal((k * n, 3)), y]).astype(np.float32), y


def test_the_score_that_tells_hidden_classes_apart_is_chosen():
    x, y = rows()
    choice = choose_unknown_score(x, y, scores=[Blind(), Oracle()])
    assert choice.score == Oracle()
    assert choice.auroc == {"blind": 0.5, "oracle": 1.0}
    assert choice.n_trials == 10
    assert "oracle 1.000, blind 0.500" in choice.note


def test_a_score_that_is_no_better_does_not_replace_the_default():
    x, y = rows()
    choice = choose_unknown_score(x[:, :3], y)  # noise: no score can tell
    assert choice.score.is_default
    assert {abs(v - 0.5) < 0.15 for v in choice.auroc.values()} == {True}


def test_directions_call_for_the_nearest_neighbour():
    """Classes along curved arms: their means say little, and their rows much."""
    rng = np.random.default_rng(1)
    y = np.repeat(np.arange(8), 60)
    angle = 2 * np.pi * y / 8 + 0.05 * rng.standard_normal(len(y))
    length = rng.choice([1.0, 10.0], len(y)) + 0.1 * rng.standard_normal(len(y))
    x = np.column_stack([length * np.cos(angle), length * np.sin(angle)]).astype(np.float32)
    choice = choose_unknown_score(x, y)
    assert choice.score.label == "nearest neighbour"
    assert choice.auroc["nearest neighbour"] > 0.95 > choice.auroc["distance"]


def test_no_hidden_class_is_fitted_and_groups_lie_on_one_side():
    y = np.repeat(np.arange(7), 12)
    groups = RNG.permutation(np.arange(len(y)) // 3)
    trials = list(_iterate_trials(y, groups, 0))
    assert sorted({c for _, _, hidden in trials for c in y[hidden].tolist()}) == list(range(7))
    for fit, visible, hidden in trials:
        assert not set(y[fit]) & set(y[hidden])
        assert set(y[visible]) <= set(y[fit])
        assert not set(groups[fit]) & set(groups[np.append(visible, hidden)])


def test_with_two_classes_nothing_is_hidden():
    x, y = rows(k=2)
    choice = choose_unknown_score(x, y)
    assert choice.score == list_unknown_scores()[0]
    assert (choice.note, choice.n_trials) == ("", 0)
