"""The guard: what counts as evidence, what is hidden, and which answer is taken."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import norm

from ilk.core.data import Data
from ilk.core.metrics import softmax
from ilk.methods.paddle import PADDLE
from ilk.transduction.guard import (
    estimate_proportions,
    fit_guarded,
    held_out_gain,
    proportion_evidence,
)

NAMES = tuple("abcde")


@dataclass(frozen=True)
class ShiftedAnswers:
    """Answers row i with the class in its feature (and the sharpness asked for), moved by some."""

    moved: int
    sharp: float = 8.0

    def logits(self, x):
        return self.sharp * np.eye(5)[(x[:, 0].astype(int) + self.moved) % 5]


def rows(truth, shots=4):
    y = np.repeat(np.arange(5), shots)
    x = np.append(y, truth)[:, None].astype(np.float32)
    return Data(x, np.append(y, np.full(len(truth), -1)), NAMES)


UNEVEN, EVEN = np.repeat([1, 3], 30), np.repeat(np.arange(5), 12)


def fit(without, with_):
    """A method that answers so from labelled rows alone, and so with others beside."""
    return lambda data: ShiftedAnswers(with_ if (data.y < 0).any() else without)


def test_shares_are_found_where_posteriors_are_right():
    rng = np.random.default_rng(0)
    y = rng.random(20_000) < 0.85
    x = rng.standard_normal(20_000) + np.where(y, 1.0, -1.0)
    logits = np.stack([norm.logpdf(x, -1), norm.logpdf(x, 1), np.full(len(x), -np.inf)], axis=1)
    np.testing.assert_allclose(estimate_proportions(logits), [0.15, 0.85, 0], atol=0.01)
    assert softmax(logits[:, :2], axis=1).mean(0)[1] < 0.8  # what a mean of answers would say


def test_evidence_is_the_likelihood_less_schwarz():
    rng = np.random.default_rng(0)
    logits, share = rng.standard_normal((40, 3)), np.array([0.5, 0.2, 0.3])
    p = softmax(logits, axis=1)
    gain = sum(np.log(sum(share * row)) - np.log(sum(row / 3)) for row in p)
    assert proportion_evidence(logits, share) == pytest.approx(gain - np.log(40))
    closed = np.column_stack([logits, np.full(40, -np.inf)])
    assert proportion_evidence(closed, np.append(share, 0)) == pytest.approx(gain - np.log(40))
    assert proportion_evidence(logits, np.full(3, 1 / 3)) == pytest.approx(-np.log(40))


def test_what_helps_is_taken_and_what_harms_is_not():
    assert fit_guarded(rows(UNEVEN), fit(2, 0)).moved == 0
    assert fit_guarded(rows(UNEVEN), fit(0, 2)).moved == 0


def test_even_queries_are_answered_from_labels_alone():
    assert fit_guarded(rows(EVEN), fit(2, 0)).moved == 2


def test_no_gain_is_not_enough():
    data = rows(UNEVEN)
    assert (
        fit_guarded(data, lambda d: ShiftedAnswers(0, 8.0 if (d.y < 0).any() else 9.0)).sharp == 9.0
    )


def test_without_unlabelled_rows_or_with_single_labels_predictions_are_unchanged():
    assert fit_guarded(rows(UNEVEN).take_labelled(), fit(2, 0)).moved == 2
    assert fit_guarded(rows(UNEVEN, shots=1), fit(2, 0)).moved == 2


def test_hidden_rows_count_as_often_as_their_class_occurs():
    def partly(data):
        """With others beside, right on class 1 and wrong on class 3; alone, the other way round."""

        @dataclass(frozen=True)
        class Partly:
            def logits(self, x):
                good = 1 if (data.y < 0).any() else 3
                return np.eye(5)[np.where(x[:, 0] == good, x[:, 0], (x[:, 0] + 1) % 5).astype(int)]

        return Partly()

    data = rows(UNEVEN)
    assert held_out_gain(data, partly, np.array([0, 0.7, 0, 0.3, 0])) == pytest.approx(0.4)
    assert held_out_gain(data, partly, np.array([0.4, 0.3, 0, 0.3, 0])) == pytest.approx(0)
    assert held_out_gain(data, partly, np.array([0, 1.0, 0, 0, 0])) == pytest.approx(1)


def test_hidden_labels_stay_hidden():
    data, calls = rows(UNEVEN), []

    def spy(given):
        calls.append(given)
        return ShiftedAnswers(0)

    held_out_gain(data, spy, np.full(5, 0.2))
    for with_, without in zip(calls[::2], calls[1::2], strict=True):
        assert len(with_) == len(data)
        assert len(without) == len(with_.take_labelled()) < 20
        assert (with_.y >= 0).sum() == len(without)


def test_paddle_with_a_guard_is_no_worse_where_features_say_nothing():
    rng = np.random.default_rng(0)
    for _ in range(5):
        x = rng.standard_normal((80, 12)).astype(np.float32)
        data = Data(x, np.append(np.repeat(np.arange(5), 4), np.full(60, -1)), NAMES)
        got, alone = (PADDLE().fit(d).logits(x) for d in (data, data.take_labelled()))
        np.testing.assert_array_equal(got, alone)
