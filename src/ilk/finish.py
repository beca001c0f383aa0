"""From a winner to a classifier: fitted to all, calibrated, and judged once."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import ilk
from ilk.board import Leaderboard
from ilk.classifier import Classifier, Judgement
from ilk.data import Data
from ilk.encoders import Embeds, Explains, ScoresClasses
from ilk.explained import explained
from ilk.images import Images, Row
from ilk.judged import Judged, score_rows
from ilk.metrics import Interval
from ilk.models import Method, describe
from ilk.plan import Parts, Plan, fingerprint
from ilk.protocols import stratified_folds
from ilk.report.evidence import Evidence, Suspect
from ilk.store import Store
from ilk.trust.calibrate import Calibration
from ilk.trust.conformal import Sets, cross_fitted_sets
from ilk.trust.kept import WIDEST, Kept
from ilk.trust.suspects import Suspects
from ilk.trust.unknown import Unknown, held_out_scores

if TYPE_CHECKING:
    from PIL.Image import Image

PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "pillow", "timm", "transformers")


@dataclass(frozen=True, eq=False)
class Work:
    """All that choosing left behind.

    Attributes:
        table: The winner's encoder's features of `parts.train`, then of `parts.unlabelled`.
        classifiers: Encoders that classify by themselves and can show why.
    """

    plan: Plan
    images: Images
    parts: Parts
    encoder: Embeds
    method: Method
    table: Data
    board: Leaderboard
    classifiers: tuple[Explains, ...] = ()

    @property
    def train(self) -> Data:
        """The labelled rows of the table."""
        return self.table.labelled()


def finish(work: Work, store: Store) -> Classifier:
    """Fit the winner to everything, calibrate it out of fold, and judge the held-out part once."""
    distances, fold = _distances(work)
    classifier = _classifier(work, distances, fold)
    judged = _held_out(work, classifier, store) or _out_of_fold(work, classifier, distances)
    evidence = _evidence(work, classifier, judged, store)
    about = _about(work, classifier, judged)
    return replace(classifier, about=about, evidence=evidence, kept=_kept(work, distances))


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


def _suspects(work: Work) -> list[tuple[Suspect, bool]]:
    """Every tested training row, likeliest wrong label first, and whether it is suspect."""
    if work.board.probabilities is None:
        return []
    found = Suspects.find(work.board.probabilities, work.table.y)
    names, rows = work.parts.classes, work.parts.train
    return [
        (
            (
                work.images.file(rows[i]),
                str(rows[i].label),
                names[found.suggested[j]],
                float(found.score[j]),
            ),
            bool(found.is_suspect[j]),
        )
        for j, i in enumerate(found.rows)
    ]


def _strangers(
    work: Work, classifier: Classifier, judged: Judged, store: Store
) -> list[tuple[Path, float]]:
    """Images called unknown, the farthest first: judged ones, strange ones, unlabelled ones."""
    rows: list[Row] = list(work.parts.strange + work.parts.unlabelled)
    x = store.get(work.encoder.space, [row.digest for row in rows])
    scored = list(zip(rows, classifier.unknown.score(x), strict=True))
    scored += list(zip(judged.rows, judged.judgement.unknown_score, strict=True))
    far = [(row, float(s)) for row, s in scored if s > classifier.unknown.threshold]
    far.sort(key=lambda pair: -pair[1])
    return [(work.images.file(row), score) for row, score in far]


def _maps(work: Work, judged: Judged, store: Store) -> list[tuple[Path, tuple[str, ...], Image]]:
    """Why, as the first classifier of its own sees it."""
    if not (work.classifiers and judged.rows):
        return []
    return explained(work.classifiers[0], work.images, judged.rows, judged.y, store)


def _evidence(work: Work, classifier: Classifier, judged: Judged, store: Store) -> Evidence:
    parts, board, plan = work.parts, work.board, work.plan
    ranked = _suspects(work)
    counts = {"train": parts.counts(parts.train)}
    if parts.held:
        counts[parts.held_name] = parts.counts(parts.held)
    return Evidence(
        command=f"ilk.fit(ilk.read({str(work.images.root)!r}), {plan!r})",
        asked=f"name the kind of an image, one of {len(parts.classes)}",
        version=", ".join(f"{name} {v}" for name, v in versions().items()),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        seed=plan.seed,
        source=str(work.images.root or "a list of files"),
        classes=parts.classes,
        counts=counts,
        unlabelled=len(parts.unlabelled),
        results=board.results,
        encoder=work.encoder.name,
        method=describe(work.method),
        honest=board.honest,
        folds_note=board.note,
        judged_on=judged_on(parts),
        y=judged.y,
        probabilities=judged.judgement.probabilities,
        sets=judged.judgement.sets,
        set_level=plan.coverage,
        unknown=judged.judgement.unknown,
        paths=[work.images.file(row) for row in judged.rows],
        scores=judged.scores if judged.rows else None,
        coverage=judged.coverage if judged.rows else Interval(float("nan"), 0, 1),
        false_alarm=plan.false_alarm,
        suspects=[suspect for suspect, flagged in ranked if flagged],
        ranked=[suspect for suspect, _ in ranked],
        unknowns=_strangers(work, classifier, judged, store),
        maps=_maps(work, judged, store),
        notes=_notes(work, classifier) + _doubts(ranked),
        images=work.images,
    )


def judged_on(parts: Parts) -> str:
    """Which images the figures are of."""
    if parts.held:
        return f"the {parts.held_name} part, scored once"
    return "the training part, out of fold"


def _notes(work: Work, classifier: Classifier) -> list[str]:
    parts = work.parts
    notes = [work.board.note, classifier.sets.note, classifier.unknown.note]
    if parts.strange:
        names = sorted({str(row.label) for row in parts.strange})
        notes.append(
            f"{len(parts.strange)} {parts.held_name} images are of kinds without a training image "
            f"({', '.join(names[:5])}) and are left out of the scores"
        )
    if parts.held and parts.held_name == "val":
        notes.append("there is no test part, so the val part is held out in its place")
    elif any(row.split == "val" for row in parts.train):
        notes.append("the val part learns with the train part; the test part is held out")
    digests = [row.digest for row in parts.held]
    for encoder in work.classifiers:
        if learnt := int(np.sum(~encoder.fair(digests))):
            notes.append(
                f"{encoder.name} learnt from {learnt} of the {len(digests)} {parts.held_name} "
                "images with their labels; what it says of them is too good"
            )
    return [note for note in notes if note]


def _doubts(ranked: Sequence[tuple[Suspect, bool]]) -> list[str]:
    """What wrong labels do to the figures, where there seem to be some."""
    if not (suspects := sum(flagged for _, flagged in ranked)):
        return []
    said = (
        f"{suspects} of {len(ranked)} training labels look wrong; they count as right here, so as "
        "far as they are wrong, probabilities are stated too low and the classifier is better than "
        "the training part says (suspects.csv lists them, the likeliest first)"
    )
    return [said]


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
        "notes": _notes(work, classifier),
        "seed": work.plan.seed,
        "data": {
            "fingerprint": fingerprint(work.images),
            "train": len(work.parts.train),
            "held": len(work.parts.held),
        },
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of ilk, Python and what they stand on."""
    found = {"ilk": ilk.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
