"""Several names in one cell of text: joined by a separator, or a JSON list where that is unclear.

A cell that begins with `[` is a JSON list, any other is split at the separator. So every list of
names can be written and read back, whatever the names hold.
"""

from __future__ import annotations

import json
from collections.abc import Sequence


def join_names(names: Sequence[str], separator: str) -> str:
    """Return names as one text: joined, or a JSON list if a name holds the separator.

    >>> join_names(["cat", "dog"], "|"), join_names(["a|b", "a"], "|")
    ('cat|dog', '["a|b", "a"]')
    """
    mark = separator.strip()
    is_plain = all(
        name == name.strip() and name and mark not in name and name[0] != "[" for name in names
    )
    return separator.join(names) if is_plain else json.dumps(list(names), ensure_ascii=False)


def split_names(text: str, separator: str) -> list[str]:
    """Return the names that `join_names` wrote; text that is no JSON list is split.

    >>> split_names('["a|b", "a"]', "|"), split_names("", "|")
    (['a|b', 'a'], [])
    """
    if text[:1] == "[":
        try:
            names = json.loads(text)
        except ValueError:
            names = None
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return names
    return text.split(separator) if text else []
