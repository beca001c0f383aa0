"""Search for images: an index of features, and questions by image, text, class and example.

`ilk.search` answers one question; `open_index` and `Index` keep an index. A kind of index is a file
of `kinds/`, a projection of features one of `projections/`.
"""

from __future__ import annotations

from ilk.retrieval.build import build_index
from ilk.retrieval.collection import Collection, from_array
from ilk.retrieval.entries import Entry
from ilk.retrieval.index import Index
from ilk.retrieval.load_index import open_index
from ilk.retrieval.query import Query
from ilk.retrieval.results import Hit, SearchResult

__all__ = [
    "Collection",
    "Entry",
    "Hit",
    "Index",
    "Query",
    "SearchResult",
    "build_index",
    "from_array",
    "open_index",
]
