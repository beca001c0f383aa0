"""`Searcher`: an index that is opened, built or brought up to date, and ready to be searched."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ilk.core.capabilities import Embeds
from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.images import escape_path
from ilk.retrieval.answer import answer_query
from ilk.retrieval.answer_class import answer_class
from ilk.retrieval.build import build_index
from ilk.retrieval.index import Index
from ilk.retrieval.index_folder import is_index
from ilk.retrieval.kinds import AUTO, parse_kind
from ilk.retrieval.load_index import open_index
from ilk.retrieval.open_source import load_model, open_images, open_shards, refuse_encoder
from ilk.retrieval.options import NONE, ReadImages, SearchOptions
from ilk.retrieval.query import Query
from ilk.retrieval.results import SearchResult
from ilk.retrieval.sources import OpenSource, find_source_kind, open_model
from ilk.retrieval.spaces import describe_update
from ilk.retrieval.update import apply_changes, find_changes
from ilk.retrieval.vectors.contract import name_setting
from ilk.store import Store


@dataclass(eq=False)
class Searcher:
    """An index that is ready to be searched.

    Attributes:
        index: The images.
        encoder: Encoder of queries; None if it is not needed and not there.
        store: Store of features.
        opened: The source, with its pictures and perhaps a classifier; None for a saved index.
        notes: Notes on the index and on images that are not searched.
    """

    index: Index
    encoder: Embeds | None
    store: Store | None = None
    opened: OpenSource | None = None
    notes: list[str] = field(default_factory=list)

    def ask(self, query: Query, **options: Any) -> SearchResult:
        """Return the answer to a query; options as in `answer_query`.

        A class alone is answered by the probability that the classifier gives, if there is one.
        """
        find_picture = (lambda _digest: None) if self.opened is None else self.opened.find_picture
        more: dict[str, Any] = {"find_picture": find_picture, "notes": tuple(self.notes)}
        is_class = len(query.classes) == 1 and not query.needs_encoder
        if is_class and self.opened is not None and self.opened.classifier is not None:
            return answer_class(self.index, query, self.opened, **more, **options)
        return answer_query(self.index, query, self.encoder, store=self.store, **more, **options)


def open_searcher(
    source: str | os.PathLike[str],
    options: SearchOptions,
    read: ReadImages,
    *,
    queries: Sequence[Query] = (),
    progress: Progress = silent_progress,
) -> Searcher:
    """Return what is searched: opened, encoded and indexed.

    Args:
        source: A model folder, a folder of images, a folder of shards, or a saved index.
        options: How the index is made.
        read: Reads a folder of images.
        queries: Queries to come, which are checked before anything is encoded.
        progress: Reports encoding and indexing.

    Raises:
        InputError: The options do not fit the source, or its features are of another encoder.
        ArtifactError: A saved index or model is damaged.
        Unavailable: An encoder or a package is missing.
    """
    kind = find_source_kind(source)
    for query in queries:
        query.check()
    if options.kind != AUTO:
        parse_kind(options.kind)  # before any image is encoded
    if options.index and kind in ("index", "model"):
        raise InputError(
            f"{escape_path(source)} is {'an index' if kind == 'index' else 'a model'}; "
            "index (--index) keeps the index of a folder of images or shards: leave it out"
        )
    if kind == "index":
        return _open_saved(Path(source), options, queries)
    store = Store()
    if kind == "model":
        refuse_encoder(options, "the model's own encoder is used")
        opened = open_model(source, fetch=options.fetch, **options.settings)
        for query in queries:
            query.check_encoder(opened.encoder)
    elif kind == "shards":
        opened = open_shards(source, options, queries)
    else:
        opened = open_images(os.fspath(source), options, read, store, queries, progress)
    return _index_source(opened, options, store, progress)


def _index_source(
    opened: OpenSource, options: SearchOptions, store: Store, progress: Progress
) -> Searcher:
    """Return the index of a source: loaded and brought up to date, or built, and saved."""
    collection, notes = opened.collection, list(opened.collection.notes)
    is_saved = bool(options.index) and is_index(options.index)
    if is_saved:
        index = open_index(options.index)
        place = f"the index {escape_path(options.index)}"
        notes += describe_update(index.space, opened.encoder, place)
        _check_kind(index, options)
        changes = find_changes(index, collection)
        if changes:
            apply_changes(index, collection, changes, progress)
            index.save(options.index)
            notes.append(f"{changes.describe()}; the index is up to date again")
    else:
        projection = options.projection
        if projection.casefold() == AUTO and not options.index:
            projection = NONE  # too slow for a single question
        index = build_index(
            collection,
            options.kind,
            projection=projection,
            seed=options.seed,
            progress=progress,
        )
        if options.index:
            notes.append(f"index saved in {escape_path(index.save(options.index))}")
    return Searcher(index, opened.encoder, store, opened, notes)


def _check_kind(index: Index, options: SearchOptions) -> None:
    """Raise InputError if an index is asked for that differs from the saved one."""
    if options.kind != AUTO and parse_kind(options.kind) != index.kind:
        raise InputError(
            f"the index {escape_path(options.index)} is of the kind {name_setting(index.kind)}; "
            "name a new folder with --index for another"
        )
    made = str(index.facts.get("projection", {}).get("name", "cosine"))
    wanted = options.projection
    if wanted.casefold() not in (AUTO, made.casefold()) and not (
        wanted.casefold() == NONE and made == "cosine"
    ):
        raise InputError(
            f"the index {escape_path(options.index)} has the projection {made}; name a new folder "
            "with --index for another"
        )


def _open_saved(folder: Path, options: SearchOptions, queries: Sequence[Query]) -> Searcher:
    """Return a saved index; its encoder is opened only if the queries need it."""
    from ilk.encoders import resolve_encoder, restore_encoder

    index, classifier = open_index(folder), load_model(options)
    _check_kind(index, replace(options, index=str(folder)))
    encoder: Embeds | None = None
    if classifier is not None:
        encoder = classifier.encoder
    elif options.encoder:
        encoder = resolve_encoder(options.encoder, **options.settings)
    elif any(query.needs_encoder for query in queries):
        encoder = restore_encoder(index.encoder, fetch=options.fetch, **options.settings)
    notes = []
    if encoder is not None:
        notes = describe_update(index.space, encoder, f"the index {escape_path(folder)}")
    return Searcher(index, encoder, Store(), notes=notes)
