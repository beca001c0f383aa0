"""Write the answers of a search: a table of paths, and a page of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ilk.core.atomic_write import write_atomically
from ilk.core.csv_cells import CsvFormatter
from ilk.core.terminal_text import escape_line
from ilk.report.formatting import abbreviate
from ilk.report.search_page import MAX_PICTURES, SearchView, make_view, render_search_page
from ilk.report.thumbnails import Thumbnail, make_thumbnail
from ilk.retrieval.results import FIELDS, Hit, SearchResult, list_rows

SUFFIXES = (".html", ".csv", ".tsv")


def write_results(path: Path, results: Sequence[SearchResult], source: str) -> None:
    """Write answers as a page (`.html`) or a table (`.csv`, `.tsv`), by the suffix of the file.

    Raises:
        OutputError: The file cannot be written.
    """
    suffix = path.suffix.casefold()
    text = render_page(results, source) if suffix == ".html" else format_table(results, suffix)
    write_atomically(path, text.encode("utf-8", "surrogateescape"))


def format_table(results: Sequence[SearchResult], suffix: str = ".csv") -> str:
    """Return answers as CSV or TSV: a line per image that was found."""
    formatter = CsvFormatter("\t" if suffix == ".tsv" else ",")
    return "".join(formatter.format(cells) for cells in (FIELDS, *list_rows(results)))


def render_page(results: Sequence[SearchResult], source: str) -> str:
    """Return answers as a page of pictures."""
    views = [_make_view(result) for result in results]
    notes = [note for result in results for note in result.notes]
    n_images = results[0].n_images if results else 0
    return render_search_page(views, escape_line(source), n_images, notes)


def _make_view(result: SearchResult) -> SearchView:
    asked = [
        make_thumbnail(Path(name), None, role, content=picture)
        for role, name, picture in result.pictures
    ]
    found = [_show_hit(result, hit) for hit in result.hits[:MAX_PICTURES]]
    n_hidden = len(result.hits) - len(found)
    return make_view(result.query, asked, found, result.labels, result.left_out, n_hidden)


def _show_hit(result: SearchResult, hit: Hit) -> Thumbnail:
    captions = [abbreviate(hit.label) if hit.label else f"number {hit.rank}"]
    captions.append(f"{result.measure} {hit.similarity:.3f}")
    captions += [hit.copy] if hit.copy else []
    captions += [f"and {len(hit.others):,} equal files"] if hit.others else []
    path = Path(hit.path)
    content: Any = result.find_picture(hit.digest)
    return make_thumbnail(path, None, *captions, content=content)
