"""Fit the selected method to all training images, calibrate it and evaluate it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.artifacts.classifier import Classifier
from ilk.artifacts.evaluation import Evaluation, evaluate_rows
from ilk.artifacts.prediction import ScoredBatch
from ilk.artifacts.thresholds import describe_thresholds
from ilk.core.capabilities import ScoresClasses
from ilk.core.contracts import describe
from ilk.core.data import Data
from ilk.core.versions import get_versions
from ilk.fitting.ensemble_metadata import describe_ensemble
from ilk.fitting.fit_state import FitState
from ilk.fitting.report_data import collect_notes, describe_evaluated_rows
from ilk.fitting.split import fingerprint_images
from ilk.protocols import stratified_folds
from ilk.store import Store
from ilk.trust.calibration import Calibration
from ilk.trust.column_detector import ColumnDetector, take_columns
from ilk.trust.conformal import ConformalPredictor, cross_conformal_sets
from ilk.trust.out_of_distribution import OutOfDistributionDetector, cross_validate_scores
from ilk.trust.summary_statistics import MAX_WIDTH, SummaryStatistics


def finalize(state: FitState, store: Store) -> tuple[Classifier, Evaluation]:
    """Fit the selected method to all training images, calibrate it and evaluate it.

    The calibration uses out-of-fold predictions. The evaluation uses the held-out images, or the
    out-of-fold predictions if there are none.
    """
    unknown_scores = _score_out_of_fold(state)
    classifier = _calibrate(state, unknown_scores)
    evaluation = _evaluate_held_out(state, classifier, store) or evaluate_out_of_fold(
        state, classifier, unknown_scores
    )
    classifier = replace(
        classifier,
        metadata=make_metadata(state, classifier, evaluation),
        summary_statistics=_summarize_features(state, unknown_scores),
    )
    return classifier, evaluation


def _select_detector_data(state: FitState) -> Data:
    """Return the labelled rows, or all rows as one class if there are no labels.

    Of an ensemble of encoders, the features are those of the best single candidate.
    """
    if state.split.train:
        return take_columns(state.train, state.detector_columns)
    return replace(state.features, y=np.zeros(len(state.features), np.int64))


def _score_out_of_fold(state: FitState) -> NDArray[np.float64]:
    """Return the cross-validated out-of-distribution score of each training row, `[n]`."""
    data = _select_detector_data(state)
    fold = state.leaderboard.fold[: len(data)]
    if not state.split.train:
        fold = stratified_folds(data.y, state.config.folds, state.config.seed, data.group)
    return cross_validate_scores(data, fold)


def _calibrate(state: FitState, unknown_scores: NDArray[np.float64]) -> Classifier:
    """Fit all parts of the classifier."""
    config, leaderboard, y = state.config, state.leaderboard, state.features.y
    if leaderboard.out_of_fold is None or leaderboard.probabilities is None:
        calibration = Calibration()
        sets = ConformalPredictor.fit(
            np.zeros((0, state.features.k)), np.zeros(0, np.int64), config.coverage
        )
    else:
        tested_rows = np.flatnonzero(leaderboard.out_of_fold.is_tested)
        calibration = Calibration.fit(leaderboard.out_of_fold.logits[tested_rows], y[tested_rows])
        p = calibration.to_probabilities(leaderboard.out_of_fold.logits[tested_rows])
        sets = ConformalPredictor.fit(
            p,
            y[tested_rows],
            config.coverage,
            unknown_scores[tested_rows],
            groups=state.features.group[tested_rows],
        )
    detector = OutOfDistributionDetector.fit(
        _select_detector_data(state), unknown_scores, config.false_alarm
    )
    if state.detector_columns is not None:
        detector = ColumnDetector.from_detector(detector, state.detector_columns[0])
    return Classifier(
        state.split.classes,
        state.encoder,
        state.method.fit(state.features),
        calibration,
        sets,
        detector,
        metadata={"ordered": config.ordered},
    )


def _summarize_features(
    state: FitState, unknown_scores: NDArray[np.float64]
) -> SummaryStatistics | None:
    """Return the statistics that later updates need; without features if they are too wide."""
    train, oof = state.train, state.leaderboard.out_of_fold
    if not state.split.train:
        return None
    if isinstance(state.encoder, ScoresClasses) or train.x.shape[1] > MAX_WIDTH:
        train = replace(train, x=train.x[:, :0])
    n, is_tested = len(train), np.zeros(len(train), bool)
    if oof is None:
        return SummaryStatistics.from_data(train, np.zeros((n, train.k)), is_tested, unknown_scores)
    return SummaryStatistics.from_data(train, oof.logits[:n], oof.is_tested[:n], unknown_scores)


def _evaluate_held_out(state: FitState, classifier: Classifier, store: Store) -> Evaluation | None:
    return evaluate_rows(classifier, state.split.held_out, store) if state.split.held_out else None


def evaluate_out_of_fold(
    state: FitState, classifier: Classifier, unknown_scores: NDArray[np.float64]
) -> Evaluation:
    """Return the evaluation of the out-of-fold predictions; empty if there are none.

    Args:
        state: The leaderboard and the rows that it was made of.
        classifier: Its detector of unknown images has the threshold.
        unknown_scores: Score of each training row, `[n]`, greater for unknown images.
    """
    leaderboard, level = state.leaderboard, state.config.coverage
    if leaderboard.probabilities is None:
        no_rows = np.zeros((0, state.features.k))
        no_scores = ScoredBatch(no_rows, no_rows > 0, np.zeros(0, bool), np.zeros(0))
        return Evaluation((), np.zeros(0, np.int64), no_scores, level, classifier.class_values)
    tested_rows = np.flatnonzero(leaderboard.fold >= 0)
    p, y, fold, tested_scores = (
        leaderboard.probabilities[tested_rows],
        state.features.y[tested_rows],
        leaderboard.fold[tested_rows],
        unknown_scores[tested_rows],
    )
    group = state.features.group[tested_rows]
    sets = cross_conformal_sets(p, y, fold, level, tested_scores, group)
    scored = ScoredBatch(p, sets, tested_scores > classifier.ood_detector.threshold, tested_scores)
    rows = tuple(state.split.train[i] for i in tested_rows)
    return Evaluation(rows, y, scored, level, classifier.class_values, group)


def make_metadata(
    state: FitState, classifier: Classifier, evaluation: Evaluation
) -> dict[str, Any]:
    """Return the metadata that is saved in `model.json`."""
    leaderboard = state.leaderboard
    scores = next((r.scores for r in leaderboard.results if r.scores), None)
    return {
        "method": describe(state.method),
        "thresholds": describe_thresholds(classifier),
        "metrics": {
            "cross_validation": asdict(scores) if scores else None,
            "corrected_accuracy": asdict(leaderboard.corrected_accuracy)
            if leaderboard.corrected_accuracy
            else None,
            "evaluated_on": describe_evaluated_rows(state.split) if evaluation.rows else None,
            "evaluation": evaluation.to_json() if evaluation.rows else None,
        },
        "ensemble": describe_ensemble(state),
        "leaderboard": leaderboard.to_json(),
        "notes": collect_notes(state, classifier, evaluation),
        "value_ranges": dict(state.images.value_ranges),
        "seed": state.config.seed,
        "ordered": state.config.ordered,
        "data": {
            "fingerprint": fingerprint_images(state.images),
            "train": len(state.split.train),
            "held_out": len(state.split.held_out),
        },
        "versions": get_versions(),
    }
