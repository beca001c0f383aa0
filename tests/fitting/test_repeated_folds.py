"""Repeated folds and the intervals of accuracies that are measured with them."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.fitting.fit_cost import estimate_seconds
from ilk.fitting.model_selection import rank_candidates
from ilk.fitting.repeated_folds import Run, average_scores, choose_run
from ilk.maths.clusters import compute_interval
from ilk.methods import parse

NAMES = tuple("abc")


def blobs(seed: int, per_class: int, d: int = 4, apart: float = 1.0) -> Data:
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(3), per_class)
    means = apart * np.random.default_rng(99).normal(size=(3, d))
    return Data((means[y] + rng.normal(size=(len(y), d))).astype(np.float32), y, NAMES)


def make_run(correct: np.ndarray) -> Run:
    """A run whose row i is right where `correct[i]` says so; all labels are 0."""
    p = np.where(correct[:, None], [0.9, 0.1], [0.2, 0.8]).astype(np.float32)
    return Run(np.log(p).astype(np.float64), p, np.arange(len(correct)) % 5, 0.1)


def test_repeats_average_rows_and_are_not_more_rows() -> None:
    rng = np.random.default_rng(5)
    y = np.zeros(40, np.int64)
    runs = [make_run(rng.random(40) < 0.7) for _ in range(8)]
    rated = average_scores(y, runs)
    accuracies = [np.mean(run.probabilities.argmax(1) == 0) for run in runs]
    assert rated.scores.accuracy.value == pytest.approx(np.mean(accuracies))
    assert rated.scores.n == 40
    single = average_scores(y, runs[:1]).scores.accuracy
    width = rated.scores.accuracy.high - rated.scores.accuracy.low
    assert width > 0.9 * (single.high - single.low)
    variance = np.var(accuracies, ddof=1) + np.mean(accuracies) * (1 - np.mean(accuracies)) / 40
    assert width == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.1)
    nearest = choose_run(y, runs)
    gap = abs(np.mean(nearest.probabilities.argmax(1) == 0) - np.mean(accuracies))
    assert gap == min(abs(a - np.mean(accuracies)) for a in accuracies)


def test_rows_that_are_right_together_count_less() -> None:
    correct = np.repeat(np.random.default_rng(6).random(20) < 0.7, 10).astype(float)
    groups = np.repeat(np.arange(20), 10)
    apart, together = compute_interval(correct), compute_interval(correct, groups)
    assert together.value == apart.value
    ratio = (together.high - together.low) / (apart.high - apart.low)
    assert 2.5 < ratio < 3.7  # the root of the ten rows of a group


def draw_sample(per_class: int, seed: int) -> tuple[Data, Data]:
    """Three unit Gaussians in the plane: a training sample and 4,500 fresh rows."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(3, 2))
    y = [np.repeat(np.arange(3), n) for n in (per_class, 1500)]
    x = [(means[labels] + rng.normal(size=(len(labels), 2))).astype(np.float32) for labels in y]
    return Data(x[0], y[0], NAMES), Data(x[1], y[1], NAMES)


def test_the_interval_of_repeated_folds_covers_the_accuracy_of_the_model() -> None:
    """Of 40 samples of 24 rows; the benchmark `intervals` has hundreds."""
    covered = []
    for seed in range(40):
        train, test = draw_sample(8, seed)
        board = rank_candidates(
            {"e": train},
            {"e": [parse("GDA")]},
            seed=seed,
            repeat_seconds=60.0,
        )
        interval = board.results[0].scores.accuracy
        truth = np.mean(board.winner[1].fit(train).logits(test.x).argmax(1) == test.y)
        covered.append(interval.low <= truth <= interval.high)
        assert "sets of folds" in board.note
    assert np.mean(covered) >= 0.88


def test_folds_are_repeated_for_few_images_only_and_keep_groups_together() -> None:
    many = rank_candidates({"e": blobs(0, 40)}, {"e": [parse("GDA")]}, repeat_seconds=60.0)
    assert many.note == ""
    few = blobs(0, 12)
    grouped = Data(few.x, few.y, NAMES, group=np.arange(36) // 2)
    board = rank_candidates({"e": grouped}, {"e": [parse("GDA")]}, repeat_seconds=60.0)
    assert "sets of folds" in board.note
    for g in range(18):
        assert len(np.unique(board.fold[grouped.group == g])) == 1
    assert rank_candidates({"e": few}, {"e": [parse("GDA")]}).note == ""


def test_each_set_of_folds_is_another() -> None:
    hits = []
    for seed in range(4):
        data = blobs(seed, 12, apart=0.7)
        board = rank_candidates({"e": data}, {"e": [parse("GDA")]}, repeat_seconds=60.0)
        hits.append(36 * board.results[0].scores.accuracy.value)
    assert np.abs(np.subtract(hits, np.round(hits))).max() > 1e-6  # means over different folds


def test_the_number_of_sets_is_the_same_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"e": blobs(1, 12, apart=0.7), "f": blobs(2, 12, apart=0.7)}
    methods = {name: [parse("GDA"), parse("LogisticRegression")] for name in data}

    def rank() -> tuple[str, list[float]]:
        board = rank_candidates(data, methods, repeat_seconds=2.0, combine=True)
        return board.note, [r.scores.accuracy.value for r in board.results]

    usual = rank()
    assert "sets of folds" in usual[0]
    now, step = time.perf_counter(), itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: now + 100.0 * next(step))
    assert rank() == usual


def test_repeats_fit_into_the_estimated_time() -> None:
    data, method = blobs(0, 12, apart=0.7), parse("NaiveBayes")
    seconds = estimate_seconds(method, data, 5)
    assert seconds == pytest.approx(0.02 + 0.02 * 1e-7 * 36 * 4 * 10)
    assert estimate_seconds(method, data, 10, 400) == pytest.approx(
        2 * (0.02 + 0.02 * 1e-7 * 36 * 400 * 10)
    )
    board = rank_candidates({"e": data}, {"e": [method]}, repeat_seconds=2.5 * seconds)
    assert "over 3 sets of folds" in board.note  # the first, and two that fit
    assert rank_candidates({"e": data}, {"e": [method]}, repeat_seconds=1.5 * seconds).note == ""
    slow = parse("ELR(epochs=1)")
    assert estimate_seconds(slow, data, 5) == math.inf
    assert rank_candidates({"e": data}, {"e": [slow]}, repeat_seconds=60.0).note == ""
