"""Kinds of index, one per file and found by it: settings that start and open a `Vectors`."""

from __future__ import annotations

from typing import Any

from ilk.core.errors import InputError
from ilk.core.registry import find_classes, parse_call
from ilk.retrieval.vectors.contract import IndexTags

AUTO = "auto"
MAX_EXACT_ROWS = 1_000_000  # above, auto takes HNSW where usearch is installed


def list_kinds() -> dict[str, type[Any]]:
    """Return the kinds of index by name, sorted."""
    return find_classes(__name__, IndexTags, "start")


def parse_kind(text: str) -> Any:
    """Return the kind that a text describes, such as `Exact` or `HNSW(connectivity=32)`.

    Names are found whatever the case of their letters.

    Raises:
        UnknownName: There is no such kind.
        InputError: Its settings are wrong.
        Unavailable: It needs a package that is not installed.
    """
    kinds = list_kinds()
    name, bracket, rest = text.strip().partition("(")
    known = {kind.casefold(): kind for kind in kinds}
    name = known.get(name.strip().casefold(), name)
    kind = parse_call(name + bracket + rest, kinds, "kind of index")
    try:
        kind.check()
    except ValueError as error:
        raise InputError(f"{text}: {error}") from None
    return kind


def choose_kind(n_rows: int) -> tuple[Any, str]:
    """Return the kind of index for a number of rows, and a note or ""."""
    from importlib.util import find_spec

    if n_rows <= MAX_EXACT_ROWS:
        return parse_kind("Exact"), ""
    if find_spec("usearch") is None:
        return parse_kind("Exact"), (
            f"{n_rows:,} rows are compared one by one, because usearch is not installed: "
            "pip install 'ilk[search]'"
        )
    return parse_kind("HNSW"), ""
