"""Names that people type: of classes and of annotators."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from ilk.core.errors import InputError
from ilk.images.annotations.label_values import parse_label
from ilk.images.annotations.spellings import match_class_names

MAX_LENGTH = 200
JOINERS = dict.fromkeys((0x200C, 0x200D))  # part of words in Persian and Hindi, and of emoji


def check_class_name(name: str, classes: Sequence[str] = ()) -> str:
    """Return the class that a name means: one of `classes` if it is spelled like it.

    Raises:
        InputError: The name is empty, too long, or not printable.
    """
    text = _check_text(name, "class")
    parsed = parse_label(text)
    if parsed is None:
        raise InputError(f"the class name {name!r} stands for no label; choose another")
    return match_class_names([parsed], classes).get(parsed, parsed)


def check_annotator(name: str) -> str:
    """Return the name of an annotator without spaces around it.

    Raises:
        InputError: The name is empty, too long, or not printable.
    """
    return _check_text(name, "annotator")


def _check_text(name: str, what: str) -> str:
    if not isinstance(name, str):
        raise InputError(f"the name of the {what} is {name!r}; give text")
    text = unicodedata.normalize("NFC", name).strip()
    if not text:
        raise InputError(f"the name of the {what} is empty; type one")
    if len(text) > MAX_LENGTH:
        raise InputError(f"the name of the {what} is longer than {MAX_LENGTH} characters; cut it")
    if not text.translate(JOINERS).isprintable():
        raise InputError(
            f"the name {text!r} of the {what} holds unprintable characters; remove them"
        )
    return text
