"""The page of `ilk search`: what was asked, and the pictures that were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ilk.core.versions import get_versions
from ilk.report.formatting import abbreviate, format_count, join_words
from ilk.report.render import Gallery
from ilk.report.templates import render_template
from ilk.report.thumbnails import Thumbnail

MAX_PICTURES = 200  # found, on the page: about 1 MB
MAX_LABELS = 12


@dataclass(frozen=True)
class SearchView:
    """One question and its answer, for the page.

    Attributes:
        query: The question in words.
        asked: Pictures of the question.
        found: Pictures that were found, best first.
        labels: How often each label occurs among them.
        left_out: Path of the query itself, where it is not shown; "" otherwise.
    """

    query: str
    asked: Gallery = field(default_factory=lambda: Gallery([], 0))
    found: Gallery = field(default_factory=lambda: Gallery([], 0))
    labels: Mapping[str, int] = field(default_factory=dict)
    left_out: str = ""

    @property
    def label_sentence(self) -> str:
        """Which labels the images that were found have."""
        named = list(self.labels.items())
        if not named:
            return ""
        words = [f"{abbreviate(name)} {n:,}" for name, n in named[:MAX_LABELS]]
        rest = len(named) - MAX_LABELS
        return f"Labels: {join_words([*words, *([f'{rest} others'] if rest > 0 else [])])}."


def make_view(
    query: str,
    asked: Sequence[Thumbnail],
    found: Sequence[Thumbnail],
    labels: Mapping[str, int],
    left_out: str = "",
    n_hidden: int = 0,
) -> SearchView:
    """Return a query and its answer, with `n_hidden` more pictures than those shown."""
    return SearchView(
        query, Gallery(list(asked), 0), Gallery(list(found), n_hidden), labels, left_out
    )


def render_search_page(
    views: Sequence[SearchView], source: str, n_images: int, notes: Sequence[str]
) -> str:
    """Return the page as HTML.

    Args:
        views: The questions, in order.
        source: What was searched, as shown.
        n_images: Number of images that were searched.
        notes: Remarks: kind of index, recall, projection.
    """
    return render_template(
        "search_page.html",
        version=f"ilk {get_versions().get('ilk', '')}".strip() + " ",
        title=f"{format_count(n_images, 'image')} searched",
        source=source,
        views=views,
        notes=list(dict.fromkeys(notes)),
    )
