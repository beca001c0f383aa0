"""Answers that the page sends: checked, and given to the session with their keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ilk.labelling.results import UndoneAnswer
from ilk.labelling.session import LabellingSession
from ilk.serve.label_views import describe_item, describe_state
from ilk.serve.problems import Problem

MAX_KEY = 100
MAX_DIGESTS = 2_000
Event = Mapping[str, Any]


def apply_answer(session: LabellingSession, event: Event) -> dict[str, Any]:
    """Do what an event says, once for each key; return what follows from it.

    Args:
        session: The open session.
        event: `kind` ("assign", "skip", "unsure", "undo", "resolve" or "class"), `annotator`,
            `digests` and `label` as the kind needs them, and `key`, which identifies the event.

    Returns:
        `state` as `describe_state` gives it; `label`, a class as it is kept; `undone`, what was
        taken back, or None.

    Raises:
        Problem: The event is malformed.
        InputError: The session has no such image, or the name cannot be that of a class.
        OutputError: The log cannot be written; nothing is changed.
    """
    annotator, kind = _get_text(event, "annotator"), _get_text(event, "kind")
    if kind not in ACTIONS:
        raise Problem(422, f"the kind of event {kind!r} is not one of {', '.join(ACTIONS)}")
    key = _get_text(event, "key")
    if not (0 < len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
        raise Problem(422, f"an event needs a key of 1 to {MAX_KEY} letters, digits and signs")
    result = ACTIONS[kind](session, annotator, event, key)
    undone = None
    if isinstance(result, UndoneAnswer):
        undone = _describe_undone(session, result)
    return {
        "state": describe_state(session, annotator),
        "label": result if isinstance(result, str) else None,
        "undone": undone,
    }


def _assign(session: LabellingSession, annotator: str, event: Event, key: str) -> str:
    label = _get_text(event, "label")
    return session.assign(annotator, _get_digests(event), label, key=key)


def _skip(session: LabellingSession, annotator: str, event: Event, key: str) -> None:
    session.skip(annotator, _get_digest(event), key=key)


def _mark_unsure(session: LabellingSession, annotator: str, event: Event, key: str) -> None:
    session.mark_unsure(annotator, _get_digest(event), key=key)


def _resolve(session: LabellingSession, annotator: str, event: Event, key: str) -> str:
    label = _get_text(event, "label")
    return session.resolve(_get_digest(event), label, annotator=annotator, key=key)


def _add_class(session: LabellingSession, annotator: str, event: Event, key: str) -> str:
    return session.add_class(_get_text(event, "label"), annotator=annotator, key=key)


def _undo(
    session: LabellingSession, annotator: str, _event: Event, key: str
) -> UndoneAnswer | None:
    return session.undo(annotator, key=key)


ACTIONS: Mapping[str, Callable[[LabellingSession, str, Event, str], Any]] = {
    "assign": _assign,
    "skip": _skip,
    "unsure": _mark_unsure,
    "resolve": _resolve,
    "class": _add_class,
    "undo": _undo,
}


def _get_text(event: Event, name: str) -> str:
    value = event.get(name, "")
    if not isinstance(value, str):
        raise Problem(422, f"{name!r} of an event must be text")
    return value


def _get_digests(event: Event) -> list[str]:
    value = event.get("digests")
    if not isinstance(value, list) or not all(isinstance(d, str) for d in value):
        raise Problem(422, "'digests' of an event must be a list of texts")
    if len(value) > MAX_DIGESTS:
        raise Problem(422, f"an event names {len(value):,} images; {MAX_DIGESTS:,} are the most")
    return value


def _get_digest(event: Event) -> str:
    digests = _get_digests(event)
    if len(digests) != 1:
        raise Problem(422, f"this kind of event needs one image; it names {len(digests)}")
    return digests[0]


def _describe_undone(session: LabellingSession, undone: UndoneAnswer) -> dict[str, Any]:
    """Return what was taken back, and a sentence that says so."""
    items = [describe_item(session, d) for d in undone.digests if d in session.paths]
    where = items[0]["name"] if len(items) == 1 else f"{len(undone.digests):,} images"
    what = {
        "label": f"{undone.label} for {where}",
        "skip": f"skipped {where}",
        "unsure": f"not sure about {where}",
        "resolve": f"resolved {where} as {undone.label}",
        "add class": f"the new class {undone.label}",
    }[undone.kind]
    return {"kind": undone.kind, "label": undone.label, "items": items, "sentence": f"{what}."}
