"""The first of many names in a sentence, and how many more there are."""

from __future__ import annotations

from collections.abc import Sequence


def list_first(names: Sequence[str], n: int, separator: str = ", ") -> str:
    """Return the first `n` names joined, and the number of the others.

    >>> list_first(["cat", "dog"], 2), list_first(["cat", "dog", "owl", "yak"], 2)
    ('cat, dog', 'cat, dog and 2 more')
    """
    more = f" and {len(names) - n:,} more" if len(names) > n else ""
    return separator.join(names[:n]) + more
