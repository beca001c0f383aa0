"""From a winner to a classifier: fitted to all, calibrated, and judged once."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ilk.classifier import Classifier, Judgement
from ilk.data import Data
from ilk.encoders import ScoresClasses
from ilk.findings import evidence, judged_on, notes
from ilk.judged import Judged, score_rows
from ilk.models import describe
from ilk.plan import fingerprint
from ilk.protocols import stratified_folds
from ilk.store import Store
from ilk.trust.calibrate import Calibration
from ilk.trust.conformal import Sets, cross_fitted_sets
from ilk.trust.kept import WIDEST, Kept
from ilk.trust.unknown import Unknown, held_out_scores
from ilk.versions import versions
from ilk.work import Work


def finish(work: Work, store: Store) -> Classifier:
    """Fit the winner to everything, calibrate it out of fold, and judge the held-out part once."""
    distances, fold = _distances(work)
    classifier = _classifier(work, distances, fold)
    judged = _held_out(work, classifier, store) or _out_of_fold(work, classifier, distances)
    about = _about(work, classifier, judged)
    return replace(
        classifier,
        about=about,
        evidence=evidence(work, classifier, judged, store),
        kept=_kept(work, distances),
    )


def _known(work: Work) -> Data:
    """What the sense of the unknown learns from: labelled rows, or all where there is no label."""
    if work.parts.train:
        return work.train
    return Data(work.table.x, np.zeros(len(work.table), np.int64), work.table.classes)


def _distances(work: Work) -> tuple[Any, Any]:
    """Each training row's distance from the Gaussian of the other folds, and the folds."""
    known = _known(work)
    fold = work.board.fold[: len(known)]
    if not work.parts.train:
        fold = stratified_folds(known.y, work.plan.folds, work.plan.seed)
    return held_out_scores(known, fold), fold


def _classifier(work: Work, distances: Any, fold: Any) -> Classifier:
    plan, board, y = work.plan, work.board, work.table.y
    if board.oof is None or board.probabilities is None:
        calibration = Calibration()
        sets = Sets.fit(np.zeros((0, work.table.k)), np.zeros(0, np.int64), plan.coverage)
    else:
        at = np.flatnonzero(board.oof.tested)
        calibration = Calibration.fit(board.oof.logits[at], y[at])
        p = calibration.probabilities(board.oof.logits[at])
        sets = Sets.fit(p, y[at], plan.coverage, distances[at])
    return Classifier(
        work.parts.classes,
        work.encoder,
        work.method.fit(work.table),
        calibration,
        sets,
        Unknown.fit(_known(work), distances, plan.false_alarm),
    )


def _kept(work: Work, distances: Any) -> Kept | None:
    """What growing and following need; no features where no Gaussian of them can be kept."""
    train, oof = work.train, work.board.oof
    if not work.parts.train:
        return None
    if isinstance(work.encoder, ScoresClasses) or train.x.shape[1] > WIDEST:
        train = replace(train, x=train.x[:, :0])
    n, tested = len(train), np.zeros(len(train), bool)
    if oof is None:
        return Kept.of(train, np.zeros((n, train.k)), tested, distances)
    return Kept.of(train, oof.logits[:n], oof.tested[:n], distances)


def _held_out(work: Work, classifier: Classifier, store: Store) -> Judged | None:
    return score_rows(classifier, work.parts.held, store) if work.parts.held else None


def _out_of_fold(work: Work, classifier: Classifier, distances: Any) -> Judged:
    """Where nothing was held out: the training rows, each as judged by the other folds."""
    board, level = work.board, work.plan.coverage
    if board.probabilities is None:
        nothing = np.zeros((0, work.table.k))
        none = Judgement(nothing, nothing > 0, np.zeros(0, bool), np.zeros(0))
        return Judged((), np.zeros(0, np.int64), none, level)
    at = np.flatnonzero(board.fold >= 0)
    p, y, fold, far = board.probabilities[at], work.table.y[at], board.fold[at], distances[at]
    sets = cross_fitted_sets(p, y, fold, level, far)
    judgement = Judgement(p, sets, far > classifier.unknown.threshold, far)
    return Judged(tuple(work.parts.train[i] for i in at), y, judgement, level)


def _about(work: Work, classifier: Classifier, judged: Judged) -> dict[str, Any]:
    """What `model.json` tells beside the parts."""
    board = work.board
    scores = next((r.scores for r in board.results if r.scores), None)
    return {
        "method": describe(work.method),
        "thresholds": {
            "coverage": classifier.sets.level,
            "set": classifier.sets.threshold,
            "false_alarm": classifier.unknown.false_alarm,
            "unknown": classifier.unknown.threshold,
        },
        "metrics": {
            "cross_validation": asdict(scores) if scores else None,
            "after_choice": asdict(board.honest) if board.honest else None,
            "judged_on": judged_on(work.parts) if judged.rows else None,
            "judged": judged.to_json() if judged.rows else None,
        },
        "notes": notes(work, classifier),
        "seed": work.plan.seed,
        "data": {
            "fingerprint": fingerprint(work.images),
            "train": len(work.parts.train),
            "held": len(work.parts.held),
        },
        "versions": versions(),
    }
