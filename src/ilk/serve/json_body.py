"""JSON of a request: bounded in what it builds, and text that can be written again."""

from __future__ import annotations

import json
from typing import Any

from ilk.serve.problems import Problem

MAX_VALUES = 20_000  # lists, objects and entries: they take far more memory than their text


def parse_object(body: bytes, example: str) -> dict[str, Any]:
    """Return the JSON object that a body holds.

    Args:
        body: The body of a request.
        example: Such an object, for who sends something else.

    Raises:
        Problem: It is no JSON (400), no object (422), or holds too many values (413) or text that
            is no Unicode (400).
    """
    if body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_VALUES:
        raise Problem(413, f"the JSON has more than {MAX_VALUES:,} values; send fewer at a time")
    try:
        value = json.loads(body)
        _check_text(value)
    except UnicodeError:
        raise Problem(400, "the JSON has text that is not Unicode; send UTF-8") from None
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Problem(400, f"the body is not JSON ({reason})") from None
    if not isinstance(value, dict):
        raise Problem(422, f"the JSON must be an object, such as {example}")
    return value


def _check_text(value: Any) -> None:
    """Raise UnicodeEncodeError for half of a surrogate pair, which no answer or file can hold."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if not one.isascii():
                one.encode()
        elif isinstance(one, dict):
            waiting += [*one, *one.values()]
        elif isinstance(one, list):
            waiting += one
