"""Fit the selected method to all streamed rows, calibrate it on the sample and evaluate it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ilk.artifacts.classifier import Classifier
from ilk.artifacts.evaluation import Evaluation
from ilk.core.errors import InputError
from ilk.core.progress import Progress
from ilk.core.row_stream import FitsStream
from ilk.fitting.finalize import evaluate_out_of_fold
from ilk.fitting.fit_state import FitState
from ilk.fitting.out_of_core.held_out import evaluate_streamed
from ilk.fitting.out_of_core.ranking import StreamedLeaderboard
from ilk.fitting.out_of_core.streamed_rows import FeatureSource, StreamedRows
from ilk.trust.calibration import Calibration
from ilk.trust.conformal import ConformalPredictor
from ilk.trust.out_of_distribution import (
    OutOfDistributionDetector,
    make_gaussian,
    score_left_out,
)
from ilk.trust.summary_statistics import MAX_WIDTH, SummaryStatistics


@dataclass(frozen=True, eq=False)
class Streams:
    """What the last steps of a fit out of core read.

    Attributes:
        train: All training rows.
        builder: Rows outside each fold.
        source: The features.
        held_out: Positions of the held-out rows in the source, `[h]`.
    """

    train: StreamedRows
    builder: StreamedLeaderboard
    source: FeatureSource
    held_out: NDArray[np.int64]


def finalize_streamed(
    state: FitState, streams: Streams, progress: Progress
) -> tuple[Classifier, Evaluation]:
    """Return the classifier and its evaluation.

    Args:
        state: Result of model selection, whose training images are the sample and whose held-out
            images are all.
        streams: The rows.
        progress: Reports the held-out images.

    Raises:
        InputError: The selected method does not learn from a stream.
    """
    if not isinstance(state.method, FitsStream):
        raise InputError(f"{type(state.method).__name__} learns from rows in memory only")
    unknown_scores = _score_out_of_fold(state, streams.builder)
    classifier = _calibrate(state, streams, unknown_scores)
    if state.split.held_out:
        evaluation: Evaluation = evaluate_streamed(
            classifier,
            state.split.held_out,
            state.split.encode_labels(state.split.held_out),
            streams.source,
            streams.held_out,
            streams.train.memory,
            state.config.seed,
            progress,
        )
    else:
        evaluation = evaluate_out_of_fold(state, classifier, unknown_scores)
    return replace(
        classifier, summary_statistics=_summarize(state, streams.train, unknown_scores)
    ), evaluation


def _score_out_of_fold(state: FitState, builder: StreamedLeaderboard) -> NDArray[np.float64]:
    """Return the out-of-distribution score of each row of the sample by the other folds, `[m]`."""
    fold, scores = state.leaderboard.fold, np.full(len(state.features), np.nan)
    for f in range(int(fold.max(initial=-1)) + 1):
        rows = np.flatnonzero(fold == f)
        statistics = builder.find_training(f).statistics
        scores[rows] = score_left_out(statistics, state.features.x[rows])
    return scores


def _calibrate(
    state: FitState, streams: Streams, unknown_scores: NDArray[np.float64]
) -> Classifier:
    config, data, board = state.config, state.features, state.leaderboard
    if board.out_of_fold is None:
        calibration = Calibration()
        sets = ConformalPredictor.fit(np.zeros((0, data.k)), np.zeros(0, np.int64), config.coverage)
    else:
        tested = np.flatnonzero(board.out_of_fold.is_tested)
        logits = board.out_of_fold.logits[tested]
        calibration = Calibration.fit(logits, data.y[tested])
        sets = ConformalPredictor.fit(
            calibration.to_probabilities(logits),
            data.y[tested],
            config.coverage,
            unknown_scores[tested],
            groups=data.group[tested],
        )
    detector: OutOfDistributionDetector = replace(
        make_gaussian(streams.train.statistics), false_alarm=float(config.false_alarm)
    ).with_threshold(unknown_scores, data.group)
    method = state.method
    assert isinstance(method, FitsStream)
    return Classifier(
        state.split.classes,
        state.encoder,
        method.fit_stream(streams.train),
        calibration,
        sets,
        detector,
        metadata={"ordered": config.ordered},
    )


def _summarize(
    state: FitState, train: StreamedRows, unknown_scores: NDArray[np.float64]
) -> SummaryStatistics:
    """Return what later updates need: the statistics of all rows, and rows of the sample."""
    data, oof = state.features, state.leaderboard.out_of_fold
    stats = train.statistics
    if train.d > MAX_WIDTH:
        data = replace(data, x=data.x[:, :0])
        stats = replace(stats, means=stats.means[:, :0], scatter=stats.scatter[:0, :0])
    if oof is None:
        logits, is_tested = np.zeros((len(data), data.k)), np.zeros(len(data), bool)
    else:
        logits, is_tested = oof.logits, oof.is_tested
    return SummaryStatistics.from_data(data, logits, is_tested, unknown_scores, stats)
