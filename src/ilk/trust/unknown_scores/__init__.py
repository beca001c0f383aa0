"""Scores of how unknown an image is, given known classes. One per file.

`ilk.updates.hidden_classes` chooses among them on classes that are known and hidden.
"""

from __future__ import annotations

from functools import cache

from ilk.core.registry import find_classes
from ilk.trust.known_rows import UnknownScore


@cache
def list_unknown_scores() -> tuple[UnknownScore, ...]:
    """Return every score with its defaults, that of a saved classifier first."""
    scores = [kind() for kind in find_classes(__name__, UnknownScore).values()]
    return tuple(sorted(scores, key=lambda score: not score.is_default))
