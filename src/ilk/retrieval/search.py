"""`ilk.search`: find images like an image, a text or a class, in Python."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ilk.core.capabilities import Embeds, EmbedsText
from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.images import Images, escape_path, read_images
from ilk.maths.rocchio import GAMMA
from ilk.retrieval.answer import DEFAULT_COUNT, answer_query
from ilk.retrieval.build import build_index
from ilk.retrieval.index import Index
from ilk.retrieval.index_folder import is_index, open_index
from ilk.retrieval.kinds import AUTO, describe, parse_kind
from ilk.retrieval.queries import Query
from ilk.retrieval.results import SearchResult
from ilk.retrieval.sources import (
    OpenSource,
    collect_images,
    collect_shards,
    find_source_kind,
    open_model,
)
from ilk.retrieval.spaces import check_space
from ilk.retrieval.update import apply_changes, find_changes
from ilk.store import Store

NONE = "none"


@dataclass(frozen=True)
class SearchOptions:
    """How an index is made and asked.

    Attributes:
        encoder: Name of the encoder; "" for that of the model or index, else `default`.
        model: Model folder whose encoder is used; "" for none.
        kind: Kind of index, or auto.
        projection: auto tries projections where an index is saved; none; or one of them.
        index: Folder that keeps the index between calls; "" for none.
        device: auto, cpu, cuda, cuda:N or mps.
        runtime: auto, torch, openvino or onnxruntime.
        fetch: Fetch files of a saved encoder that are not on this machine.
        seed: Seed of samples.
    """

    encoder: str = ""
    model: str = ""
    kind: str = AUTO
    projection: str = AUTO
    index: str = ""
    device: str = "auto"
    runtime: str = "auto"
    fetch: bool = False
    seed: int = 0


@dataclass(eq=False)
class Searcher:
    """An index that is ready to be asked.

    Attributes:
        index: The images.
        encoder: Encoder of queries; None if it is not needed and not there.
        store: Store of features.
        find_picture: Returns the image of a digest if it is not just the file at its path.
        notes: What is to be known.
    """

    index: Index
    encoder: Embeds | None
    store: Store | None = None
    find_picture: Callable[[str], Any] = lambda _digest: None
    notes: list[str] = field(default_factory=list)

    def ask(self, query: Query, **options: Any) -> SearchResult:
        """Return the answer to a query; options as in `answer_query`."""
        return answer_query(
            self.index,
            query,
            self.encoder,
            store=self.store,
            find_picture=self.find_picture,
            notes=tuple(self.notes),
            **options,
        )


ReadImages = Callable[[str, Store, Mapping[str, tuple[float, float]] | None], Images]


def open_searcher(
    source: str | os.PathLike[str],
    options: SearchOptions,
    read: ReadImages,
    *,
    progress: Progress = silent_progress,
    log: Callable[[str], None] = lambda _line: None,
) -> Searcher:
    """Return what is searched: opened, encoded and indexed.

    Args:
        source: A model folder, a folder of images, a folder of shards, or a saved index.
        options: How the index is made.
        read: Reads a folder of images.
        progress: Reports encoding and indexing.
        log: Is called with lines on what is done.

    Raises:
        InputError: The options do not fit the source, or its features are of another encoder.
        ArtifactError: A saved index or model is damaged.
        Unavailable: An encoder or a package is missing.
    """
    kind = find_source_kind(source)
    if options.kind != AUTO:
        parse_kind(options.kind)  # before any image is encoded
    if options.index and kind in ("index", "model"):
        raise InputError(
            f"{escape_path(source)} is {'an index' if kind == 'index' else 'a model'}; "
            "index (--index) keeps the index of a folder of images or shards: leave it out"
        )
    if kind == "index":
        return _open_saved(Path(source), options)
    store = Store()
    if kind == "model":
        _refuse_encoder(options, "the model's own encoder is used")
        settings = {"device": options.device, "runtime": options.runtime, "fetch": options.fetch}
        opened, _ = open_model(source, **settings)  # type: ignore[arg-type]
    elif kind == "shards":
        opened = _open_shards(source, options)
    else:
        opened = _open_images(str(source), options, read, store, progress, log)
    return _index_source(opened, options, store, progress)


def _index_source(
    opened: OpenSource, options: SearchOptions, store: Store, progress: Progress
) -> Searcher:
    """Return the index of a source: loaded and brought up to date, or built, and saved."""
    collection, notes = opened.collection, list(opened.collection.notes)
    is_saved = bool(options.index) and is_index(options.index)
    if is_saved:
        index = open_index(options.index)
        check_space(index.space, opened.encoder, f"the index {escape_path(options.index)}")
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
    return Searcher(index, opened.encoder, store, opened.find_picture, notes)


def _check_kind(index: Index, options: SearchOptions) -> None:
    """Raise InputError if an index is asked for that differs from the saved one."""
    if options.kind != AUTO and parse_kind(options.kind) != index.kind:
        raise InputError(
            f"the index {escape_path(options.index)} is of the kind {describe(index.kind)}; name a "
            "new folder with --index for another"
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


def _open_saved(folder: Path, options: SearchOptions) -> Searcher:
    from ilk.encoders import resolve_encoder, restore_encoder

    index = open_index(folder)
    _check_kind(index, SearchOptions(kind=options.kind, projection=options.projection))
    settings = {"device": options.device, "runtime": options.runtime}
    if options.encoder:
        encoder = resolve_encoder(options.encoder, **settings)  # type: ignore[arg-type]
    else:
        encoder = restore_encoder(index.encoder, fetch=options.fetch, **settings)  # type: ignore[arg-type]
    check_space(index.space, encoder, f"the index {escape_path(folder)}")
    return Searcher(index, encoder, Store())


def _refuse_encoder(options: SearchOptions, reason: str) -> None:
    if options.encoder or options.model:
        raise InputError(f"encoder (--encoder) and model (--model) cannot be given: {reason}")


def _open_shards(source: str | os.PathLike[str], options: SearchOptions) -> OpenSource:
    """Return the images of a folder of shards, and the encoder of the queries.

    Raises:
        InputError: The features are of another encoder than the one on this machine.
    """
    from ilk.encoders import resolve_encoder

    if options.model:
        encoder = _open_model_encoder(options)[0]
        assert encoder is not None
        collection = collect_shards(source, encoder.space.key)
    else:
        collection = collect_shards(source, options.encoder or None)
        name = options.encoder or collection.space.name
        encoder = resolve_encoder(name, device=options.device, runtime=options.runtime)
    check_space(collection.space, encoder, escape_path(source))
    return OpenSource(
        replace(
            collection, encoder=encoder.describe(), reads_text=isinstance(encoder, EmbedsText)
        ),
        encoder,
    )


def _open_images(
    source: str,
    options: SearchOptions,
    read: ReadImages,
    store: Store,
    progress: Progress,
    log: Callable[[str], None],
) -> OpenSource:
    encoder, ranges = _open_model_encoder(options)
    saved = open_index(options.index) if options.index and is_index(options.index) else None
    if saved is not None and ranges is None:
        ranges = dict(saved.value_ranges) or None
    images = read(source, store, ranges)
    if encoder is None:
        encoder = _resolve(options, images, saved)
    if saved is not None:
        check_space(saved.space, encoder, f"the index {escape_path(options.index)}")
    root = os.path.abspath(source)
    return collect_images(images, encoder, store, source=root, progress=progress, log=log)


def _open_model_encoder(
    options: SearchOptions,
) -> tuple[Embeds | None, Mapping[str, tuple[float, float]] | None]:
    """Return the encoder and value ranges of the model, if one is named."""
    if not options.model:
        return None, None
    if options.encoder:
        raise InputError("both an encoder (--encoder) and a model (--model) are named; name one")
    from ilk.artifacts.loading import load

    classifier = load(
        options.model, device=options.device, runtime=options.runtime, fetch=options.fetch
    )
    return classifier.encoder, classifier.value_ranges


def _resolve(options: SearchOptions, images: Images, saved: Index | None) -> Embeds:
    """Return the named encoder, that of the saved index, or the best default encoder."""
    from ilk.encoders import choose_encoders, resolve_encoder, restore_encoder

    settings = {"device": options.device, "runtime": options.runtime}
    if not options.encoder and saved is not None:
        return restore_encoder(saved.encoder, fetch=options.fetch, **settings)  # type: ignore[arg-type]
    if options.encoder not in ("", "default"):
        return resolve_encoder(options.encoder, images=images, **settings)  # type: ignore[arg-type]
    encoders, _ = choose_encoders(images, **settings)  # type: ignore[arg-type]
    return encoders[-1]  # the cheapest come first


def search(
    source: str | os.PathLike[str] | Index,
    query: Any = None,
    *,
    text: str | Sequence[str] = (),
    class_name: str = "",
    like: Sequence[Any] = (),
    unlike: Sequence[Any] = (),
    unlike_weight: float = GAMMA,
    count: int = DEFAULT_COUNT,
    labelled_only: bool = False,
    include_self: bool = False,
    encoder: str = "",
    model: str = "",
    kind: str = AUTO,
    projection: str = AUTO,
    index: str | os.PathLike[str] = "",
    device: str = "auto",
    runtime: str = "auto",
    fetch: bool = False,
    seed: int = 0,
) -> SearchResult:
    """Find the images of `source` that are most like the query.

    Args:
        source: A model folder, whose training images are searched; a folder of images, a table or
            an archive; a folder of shards; a folder that holds an index; or an `Index`.
        query: An image, or a list of images that are averaged: paths, bytes, Pillow images or
            uint8 arrays.
        text: A text or several, for an encoder that reads text.
        class_name: A class whose mean is looked for.
        like: Images of which there should be more.
        unlike: Images of which there should be less.
        unlike_weight: Weight of the latter, gamma of `ilk.maths.rocchio`.
        count: Number of images.
        labelled_only: Only images with a label.
        include_self: Also return the query itself where the source holds it.
        encoder: Name of the encoder; by default that of the model or index, else the best one that
            is installed.
        model: Model folder whose encoder is used on a folder of images.
        kind: Kind of index: auto, `Exact`, `HNSW` or `HashCodes`, with settings in brackets.
        projection: auto, none, or a projection such as `Whitening`.
        index: Folder that keeps the index between calls.
        device: auto, cpu, cuda, cuda:N or mps.
        runtime: auto, torch, openvino or onnxruntime.
        fetch: Fetch files of a saved encoder that are not on this machine.
        seed: Seed of samples.

    Raises:
        InputError: The query is no image, the encoder reads no text, or the options do not fit.
        UnknownName: There is no such class, encoder, kind or projection.
        ArtifactError: A model or index is damaged.
        Unavailable: A package or the files of an encoder are missing.
    """
    names = os.fspath(encoder), os.fspath(model), os.fspath(index)
    options = SearchOptions(*names[:2], kind, projection, names[2], device, runtime, fetch, seed)
    if isinstance(source, Index):
        searcher = _hold_index(source, options)
    else:
        searcher = open_searcher(source, options, _read_source)
    return searcher.ask(
        Query(
            _as_tuple(query),
            (text,) if isinstance(text, str) and text else tuple(text),
            (class_name,) if class_name else (),
            tuple(like),
            tuple(unlike),
            unlike_weight,
        ),
        count=count,
        labelled_only=labelled_only,
        include_self=include_self,
    )


def _as_tuple(query: Any) -> tuple[Any, ...]:
    if query is None:
        return ()
    return tuple(query) if isinstance(query, list | tuple) else (query,)


def _hold_index(index: Index, options: SearchOptions) -> Searcher:
    from ilk.encoders import resolve_encoder, restore_encoder

    settings = {"device": options.device, "runtime": options.runtime}
    encoder: Embeds | None = None
    if options.encoder:
        encoder = resolve_encoder(options.encoder, **settings)  # type: ignore[arg-type]
    elif index.encoder:
        encoder = restore_encoder(index.encoder, fetch=options.fetch, **settings)  # type: ignore[arg-type]
    if encoder is not None:
        check_space(index.space, encoder, "this index")
    return Searcher(index, encoder)


def _read_source(
    source: str, store: Store, ranges: Mapping[str, tuple[float, float]] | None
) -> Images:
    return read_images(source, verify=False, store=store, value_range=ranges or "auto")


