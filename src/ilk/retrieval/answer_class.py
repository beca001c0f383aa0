"""Answer a question for a class by a classifier: the images to which it gives the class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.errors import InputError, UnknownName
from ilk.retrieval.answer import DEFAULT_COUNT, make_hits
from ilk.retrieval.collection import Collection
from ilk.retrieval.index import Index
from ilk.retrieval.query import Query
from ilk.retrieval.results import SearchResult
from ilk.retrieval.sources import OpenSource


def answer_class(
    index: Index,
    query: Query,
    opened: OpenSource,
    *,
    count: int = DEFAULT_COUNT,
    labelled_only: bool = False,
    include_self: bool = False,
    find_picture: Callable[[str], Any] = lambda _digest: None,
    notes: tuple[str, ...] = (),
) -> SearchResult:
    """Return the images to which a classifier gives the highest probability of a class.

    Args:
        index: What is searched, for the ids.
        query: A class.
        opened: The images with their features and the classifier.
        count: Number of images.
        labelled_only: Only images that have a label.
        include_self: Without effect: no image is asked.
        find_picture: Returns the image of a digest if it is not just the file at its path.
        notes: Further sentences for the answer.

    Raises:
        UnknownName: The classifier has no such class.
        InputError: The count is below 1.
    """
    if count < 1:
        raise InputError(f"count is {count}; ask for at least 1 image")
    p = score_class(opened.collection, opened.classifier, query.classes[0])
    entries = opened.collection.entries
    if labelled_only:
        p[[not entry.label for entry in entries]] = -np.inf
    order = np.argsort(-p, kind="stable")[:count]
    found = [
        (i, float(p[position]))
        for position in order
        if (i := index.entries.find(entries[position].digest)) is not None and p[position] >= 0
    ]
    n_called = int((p >= 0.5).sum())
    told = (
        f"ordered by the probability that the model gives to {query.classes[0]}; it is 50 % or "
        f"more for {n_called:,} of {len(entries):,} images"
    )
    hits = make_hits(index, found, [""] * len(found))
    return SearchResult(
        query.describe(),
        hits,
        len(entries),
        notes=(*notes, told),
        find_picture=find_picture,
        measure="probability",
    )


def score_class(collection: Collection, classifier: Any, name: str) -> NDArray[np.float64]:
    """Return the probability of a class for each image of a collection, `[n]`.

    Raises:
        UnknownName: The classifier has no such class.
    """
    if name not in classifier.classes:
        raise UnknownName("class of this model", name, classifier.classes)
    column = list(classifier.classes).index(name)
    p = np.empty(len(collection))
    for positions, x in collection.iterate(np.arange(len(collection))):
        p[positions] = classifier.score_batch(x).probabilities[:, column]
    return p
