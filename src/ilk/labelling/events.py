"""`Event`: one thing that an annotator did, as the log keeps it."""

from __future__ import annotations

from dataclasses import dataclass

LABEL, SKIP, UNSURE, UNDO, RESOLVE = "label", "skip", "unsure", "undo", "resolve"
ADD_CLASS, OPEN = "add class", "open"
ANSWERS = (LABEL, SKIP, UNSURE)
UNDOABLE = (*ANSWERS, RESOLVE, ADD_CLASS)
NO_ANNOTATOR = ""


@dataclass(frozen=True)
class Event:
    """One entry of the log.

    Attributes:
        number: Position in the log, from 1.
        time: When it happened, UTC, as ISO 8601 text.
        annotator: Who did it; "" for what no annotator did.
        kind: "label", "skip", "unsure", "undo", "resolve", "add class" or "open".
        digests: The images that it concerns, as SHA-256 of their content.
        label: The class, or the name of a new class; "" for other kinds.
        target: Number of the event that an undo takes back; 0 for other kinds.
        detail: Plain JSON; what an "open" found in the folder.
        key: Chosen by whoever sent it, "" for none. A key is in the log once: what is sent again
            because no answer came back changes nothing.
    """

    number: int
    time: str
    annotator: str
    kind: str
    digests: tuple[str, ...] = ()
    label: str = ""
    target: int = 0
    detail: str = ""
    key: str = ""
