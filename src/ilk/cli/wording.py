"""Sentences for the command line: options are named without the keywords of the Python functions.

Notes and errors name both, as in `--split-column (split_column=)` and `group_from (--group-from)`,
because they are the same wherever they come from.
"""

from __future__ import annotations

import re

_OPTION_FIRST = re.compile(r"--([a-z][a-z-]*)((?: [A-Za-z-]+)?) \(([a-z_]+)=[^()]*\)")
_KEYWORD_FIRST = re.compile(r"\b([a-z_]+)(=?\w*) \(--([a-z][a-z-]*)\)")


def name_options(text: str) -> str:
    """Return a sentence without the keywords that stand beside their options."""
    text = _OPTION_FIRST.sub(_drop_second, text)
    return _KEYWORD_FIRST.sub(_drop_first, text)


def _drop_second(match: re.Match[str]) -> str:
    option, value, keyword = match.groups()
    return f"--{option}{value}" if _is_same(option, keyword) else match[0]


def _drop_first(match: re.Match[str]) -> str:
    keyword, equals, option = match.groups()
    is_keyword = bool(equals) or "_" in keyword  # else it may be a word of the sentence
    return f"--{option}" if is_keyword and _is_same(option, keyword) else match[0]


def _is_same(option: str, keyword: str) -> bool:
    """Whether a keyword is that of an option, such as `classes` that of `--class`."""
    return keyword.startswith(option.removeprefix("no-").replace("-", "_"))
