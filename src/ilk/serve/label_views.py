"""What the labelling page shows, as plain JSON values.

Nothing here tells an annotator what another one answered for an image, but the disagreements, and
nothing tells which images are of the audit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ilk.core.metrics import Interval
from ilk.labelling.agreement import Agreement
from ilk.labelling.audit import AuditResult
from ilk.labelling.learning_curve import explain_missing
from ilk.labelling.names import check_annotator
from ilk.labelling.results import Progress, Suggestion
from ilk.labelling.session import LabellingSession
from ilk.report.formatting import format_percent, format_with_interval

N_AHEAD = 8  # images that the page knows ahead, so that it can go on without the server
N_RECENT = 50  # own answers to look back at
N_REFUSED = 50  # files that cannot be used, by name
KINDS = {"label": "assign", "skip": "skip", "unsure": "unsure"}  # of the log, as events of the page


def describe_item(session: LabellingSession, digest: str) -> dict[str, Any]:
    """Return an image with what the model says of it."""
    return _describe_suggestion(session.suggest(digest))


def _describe_suggestion(found: Suggestion) -> dict[str, Any]:
    suggestion = None
    if found.label is not None:
        suggestion = {"label": found.label, "probability": found.probability}
    return {"digest": found.digest, "name": found.path, "suggestion": suggestion}


def describe_annotators(session: LabellingSession) -> dict[str, Any]:
    """Return who has answered how much."""
    answers = session.progress().answers
    return {"annotators": [{"name": name, "n": n} for name, n in answers.items()]}


def describe_state(session: LabellingSession, annotator: str) -> dict[str, Any]:
    """Return all that the page needs after each answer of an annotator."""
    annotator = check_annotator(annotator)
    upcoming = session.next_items(annotator, N_AHEAD)  # first: it finds out which files are gone
    progress, own = session.progress(), session.list_labels(annotator)
    counts = progress.counts
    return {
        "annotator": annotator,
        "annotators": [{"name": name, "n": n} for name, n in progress.answers.items()],
        "classes": [{"name": name, "count": counts.get(name, 0)} for name in session.classes],
        "total": progress.n_images - progress.n_given,
        "given": progress.n_given,
        "labelled": progress.n_labelled + progress.n_disputed,
        "own": sum(answer.kind == "label" for answer in own),
        "unsure": progress.n_unsure,
        "skipped": sum(answer.kind == "skip" for answer in own),
        "gone": progress.n_gone,
        "unreadable": progress.n_unreadable + len(session.images.refused),
        "disagreements": progress.n_disputed,
        "settled": sum(counts.values()),
        "settled_classes": sum(n > 0 for n in counts.values()),
        "accuracy": _describe_audit(progress.audit),
        "model_note": _describe_model(progress),
        "can_undo": session.can_undo(annotator),
        "upcoming": [_describe_suggestion(suggestion) for suggestion in upcoming],
        "recent": [
            {
                "digest": answer.digest,
                "name": session.paths[answer.digest],
                "kind": KINDS[answer.kind],
                "label": answer.label,
                "suggestion": None,
            }
            for answer in own[:N_RECENT]
        ],
    }


def describe_groups(session: LabellingSession) -> dict[str, Any]:
    """Return suggested groups of images that nobody has answered."""
    groups = []
    for group in session.list_groups():
        suggestion = {"label": group.name, "probability": group.probability} if group.name else None
        items = [{"digest": d, "name": session.paths[d]} for d in group.digests]
        groups.append({"items": items, "suggestion": suggestion, "is_new": group.is_new})
    note = "" if groups else "No group of similar images without a label is left."
    return {"groups": groups, "note": note}


def describe_own_answers(
    session: LabellingSession, annotator: str, label: str, n: int
) -> dict[str, Any]:
    """Return the newest answers of an annotator; `label` selects those of one class."""
    answers = session.list_labels(annotator)
    chosen = [a for a in answers if not label or (a.kind == "label" and a.label == label)]
    items = [
        {
            "digest": a.digest,
            "name": session.paths[a.digest],
            "kind": KINDS[a.kind],
            "label": a.label,
        }
        for a in chosen[:n]
    ]
    return {"items": items, "total": len(chosen)}


def describe_disagreements(session: LabellingSession) -> dict[str, Any]:
    """Return the images to which annotators gave different classes, and how far they agree."""
    items = [
        {
            "digest": d.digest,
            "name": session.paths[d.digest],
            "labels": [{"annotator": name, "label": label} for name, label in d.labels],
        }
        for d in session.list_disagreements()
    ]
    return {"items": items, "agreements": _describe_agreements(session.progress().agreement)}


def describe_progress(session: LabellingSession) -> dict[str, Any]:
    """Return where the session stands."""
    progress = session.progress()
    audit, curve = progress.audit, progress.curve
    measured = [] if curve is None else [{"n": n, "accuracy": a} for n, a in curve.measured]
    expected = []
    if curve is not None and measured:
        n_now, now = curve.measured[-1]
        expected = [
            {
                "n": n_now + step,
                "accuracy": min(1.0, now + gain.value),
                "low": min(1.0, max(0.0, now + gain.low)),
                "high": min(1.0, now + gain.high),
            }
            for step, gain in curve.expected
            if n_now + step <= progress.n_images
        ]
    refused = session.images.refused
    return {
        "total": progress.n_images - progress.n_given,
        "given": progress.n_given,
        "labelled": progress.n_labelled + progress.n_disputed,
        "unsure": progress.n_unsure,
        "unreadable": progress.n_unreadable + len(refused),
        "refused": [
            {"name": row.path, "reason": row.reason, "detail": row.detail}
            for row in refused[:N_REFUSED]
        ],
        "accuracy": _describe_audit(audit),
        "accuracy_sentence": _explain_audit(progress),
        "curve": measured,
        "expected": expected,
        "curve_sentence": _explain_curve(progress),
        "classes": [{"name": c, "count": progress.counts.get(c, 0)} for c in session.classes],
        "annotators": [{"name": name, "n": n} for name, n in progress.answers.items()],
        "agreements": _describe_agreements(progress.agreement),
        "notes": list(progress.notes),
        "log": str(session.log.path),
    }


def _describe_interval(interval: Interval) -> dict[str, float | None]:
    values = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {name: v if math.isfinite(v) else None for name, v in values.items()}


def _describe_audit(audit: AuditResult | None) -> dict[str, Any] | None:
    return None if audit is None else {**_describe_interval(audit.accuracy), "n": audit.n}


def _describe_agreements(agreements: Sequence[Agreement]) -> list[dict[str, Any]]:
    return [
        {
            "annotators": list(a.annotators),
            "n": a.n,
            "observed": a.observed,
            **_describe_interval(a.kappa),
        }
        for a in agreements
    ]


def _describe_model(progress: Progress) -> str:
    """Return why there is no suggestion."""
    n_classes = sum(n > 0 for n in progress.counts.values())
    if n_classes < 2:
        return "Suggestions begin once two classes have images."
    return "There is no suggestion for this image yet."


def _explain_audit(progress: Progress) -> str:
    audit = progress.audit
    if audit is None:
        return (
            "Some of the images that you are asked about are drawn at random. Once a few of them "
            "are answered and two classes have images, they show how accurate the model is."
        )
    return (
        f"Measured on {audit.n:,} images that were drawn at random among those asked about, by "
        f"models that had not learned from them: {format_with_interval(audit.accuracy)} right. Its "
        f"probabilities claim {format_percent(audit.confidence)}."
    )


def _explain_curve(progress: Progress) -> str:
    if progress.curve is None:
        n_audited = 0 if progress.audit is None else progress.audit.n
        sentence = explain_missing(n_audited, sum(progress.counts.values()))
    else:
        sentence = progress.curve.sentence
    return sentence[:1].upper() + sentence[1:] + "."
