"""All that the report tells of a fit: doubted labels, strangers, explanations, notes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ilk.classifier import Classifier
from ilk.explained import explained
from ilk.images import Row
from ilk.judged import Judged
from ilk.metrics import Interval
from ilk.models import describe
from ilk.plan import Parts
from ilk.report.evidence import Evidence, Suspect
from ilk.store import Store
from ilk.trust.suspects import Suspects
from ilk.versions import moment, versions
from ilk.work import Work

if TYPE_CHECKING:
    from PIL.Image import Image


def evidence(work: Work, classifier: Classifier, judged: Judged, store: Store) -> Evidence:
    """What was asked, what came of it, and what to look at."""
    parts, board, plan = work.parts, work.board, work.plan
    ranked = _suspects(work)
    counts = {"train": parts.counts(parts.train)}
    if parts.held:
        counts[parts.held_name] = parts.counts(parts.held)
    return Evidence(
        command=f"ilk.fit(ilk.read({str(work.images.root)!r}), {plan!r})",
        asked=f"name the kind of an image, one of {len(parts.classes)}",
        version=", ".join(f"{name} {v}" for name, v in versions().items()),
        date=moment(),
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
        notes=notes(work, classifier) + _doubts(ranked),
        images=work.images,
    )


def judged_on(parts: Parts) -> str:
    """Which images the figures are of."""
    if parts.held:
        return f"the {parts.held_name} part, scored once"
    return "the training part, out of fold"


def notes(work: Work, classifier: Classifier) -> list[str]:
    """What a reader of the figures should know."""
    parts = work.parts
    told = [work.board.note, classifier.sets.note, classifier.unknown.note]
    if parts.strange:
        names = sorted({str(row.label) for row in parts.strange})
        told.append(
            f"{len(parts.strange)} {parts.held_name} images are of kinds without a training image "
            f"({', '.join(names[:5])}) and are left out of the scores"
        )
    if parts.held and parts.held_name == "val":
        told.append("there is no test part, so the val part is held out in its place")
    elif any(row.split == "val" for row in parts.train):
        told.append("the val part learns with the train part; the test part is held out")
    digests = [row.digest for row in parts.held]
    for encoder in work.classifiers:
        if learnt := int(np.sum(~encoder.fair(digests))):
            told.append(
                f"{encoder.name} learnt from {learnt} of the {len(digests)} {parts.held_name} "
                "images with their labels; what it says of them is too good"
            )
    return [note for note in told if note]


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
