"""Answer a query: the nearest images of an index, without the query itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ilk.core.capabilities import Embeds
from ilk.images import ImageError, decode
from ilk.images.inspection.pixel_summary import PixelSummary, summarize_pixels
from ilk.maths.top_k import NO_ID
from ilk.retrieval.build import list_notes
from ilk.retrieval.entries import Entry
from ilk.retrieval.index import Index
from ilk.retrieval.queries import EncodedQuery, encode_query
from ilk.retrieval.query import Query
from ilk.retrieval.results import Hit, SearchResult, find_copies
from ilk.store import Store

DEFAULT_COUNT = 12


def answer_query(
    index: Index,
    query: Query,
    encoder: Embeds | None,
    *,
    count: int = DEFAULT_COUNT,
    labelled_only: bool = False,
    include_self: bool = False,
    store: Store | None = None,
    find_picture: Callable[[str], Any] = lambda _digest: None,
    notes: tuple[str, ...] = (),
) -> SearchResult:
    """Return the images of an index that a query asks for, best first.

    Args:
        index: What is searched.
        query: What is asked.
        encoder: Encoder of the queries; None for a query by class alone.
        count: Number of images.
        labelled_only: Only images that have a label.
        include_self: Also show the query's own images where the index holds them.
        store: Store that may hold features of the query's images.
        find_picture: Returns the image of a digest if it is not just the file at its path.
        notes: Further sentences for the answer.

    Raises:
        InputError: The query cannot be encoded, or the count is below 1.
        UnknownName: The index has no such class.
    """
    encoded = encode_query(query, index, encoder, store)
    own = [i for i in map(index.entries.find, encoded.digests) if i is not None]
    among = index.entries.find_labelled() if labelled_only else None
    exclude = [] if include_self else own
    ids, similarity = index.search_projected(encoded.row, count, exclude=exclude, among=among)
    found = [(int(i), float(s)) for i, s in zip(ids[0], similarity[0], strict=True) if i != NO_ID]
    entries = [index.entries.by_id[i] for i, _ in found]
    copies = _find_copies(entries, encoded, find_picture)
    hits = make_hits(index, found, copies)
    left_out = ", ".join(index.entries.by_id[i].path for i in dict.fromkeys(exclude))
    more = _explain_few(len(hits), count, len(index), bool(left_out), labelled_only)
    return SearchResult(
        query.describe(),
        hits,
        len(index),
        left_out,
        (*notes, *list_notes(index), *more),
        find_picture,
        encoded.pictures,
    )


def make_hits(
    index: Index, found: Sequence[tuple[int, float]], copies: Sequence[str]
) -> tuple[Hit, ...]:
    """Return what was found: ids and similarities, best first, and what each is a copy of."""
    hits = []
    for rank, ((i, similarity), copy) in enumerate(zip(found, copies, strict=True), 1):
        entry = index.entries.by_id[i]
        hits.append(
            Hit(rank, i, entry.path, entry.label, similarity, entry.digest, copy, entry.others)
        )
    return tuple(hits)


def _explain_few(n: int, count: int, total: int, is_left_out: bool, labelled: bool) -> list[str]:
    """Return a note where fewer images are shown than were asked for."""
    if n >= count:
        return []
    what = "labelled images" if labelled else "images"
    own = ", without the query itself" if is_left_out else ""
    return [f"{count:,} {what} were requested, and only {n:,} of {total:,} can be shown{own}"]


def _find_copies(
    entries: list[Entry], encoded: EncodedQuery, find_picture: Callable[[str], Any]
) -> list[str]:
    asked = list(zip(encoded.digests, encoded.summaries, strict=False))
    if not asked:
        return [""] * len(entries)
    summaries = [_summarize(entry, find_picture) for entry in entries]
    return find_copies([entry.digest for entry in entries], summaries, asked)


def _summarize(entry: Entry, find_picture: Callable[[str], Any]) -> PixelSummary | None:
    """Return the pixels of an image; None if it cannot be read any more."""
    picture = find_picture(entry.digest)
    try:
        return summarize_pixels(decode(Path(entry.path) if picture is None else picture))
    except (ImageError, OSError, ValueError):
        return None
