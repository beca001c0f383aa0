"""`ilk.search`: find images similar to an image, a text or a class, in Python."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ilk.core.capabilities import Embeds
from ilk.images import Images, read_images
from ilk.maths.rocchio import GAMMA
from ilk.retrieval.answer import DEFAULT_COUNT
from ilk.retrieval.index import Index
from ilk.retrieval.kinds import AUTO
from ilk.retrieval.options import SearchOptions
from ilk.retrieval.query import Query
from ilk.retrieval.results import SearchResult
from ilk.retrieval.searcher import Searcher, open_searcher
from ilk.retrieval.spaces import describe_update
from ilk.store import Store


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
    """Find the images of `source` that are most similar to the query.

    >>> for hit in ilk.search("photos/", "photos/cat/1.jpg", count=5):  # doctest: +SKIP
    ...     print(hit.path, hit.similarity)

    Args:
        source: A model folder, whose training images are searched; a folder of images, a table or
            an archive; a folder of shards; a folder that holds an index; or an `Index`.
        query: An image, or a list of images that are averaged: paths, bytes, Pillow images or
            uint8 arrays.
        text: A text to search for, or several, with an encoder that reads text.
        class_name: A class to search for: the mean of its images, or with `model` its probability.
        like: Images that the results should resemble.
        unlike: Images that the results should not resemble.
        unlike_weight: Weight of the images of `unlike`, >= 0, gamma of `ilk.maths.rocchio`.
        count: Number of images to return, at least 1.
        labelled_only: Search only images that have a label.
        include_self: Also return the query itself if the source contains it.
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

    Returns:
        The images found, best first: iterate over it for `Hit`s with path, label and similarity.

    Raises:
        InputError: The query is not an image, the encoder reads no text, or the options do not fit.
        UnknownName: There is no such class, encoder, kind or projection.
        ArtifactError: A model or index is damaged.
        Unavailable: A package or the files of an encoder are missing.
    """
    names = os.fspath(encoder), os.fspath(model), os.fspath(index)
    options = SearchOptions(*names[:2], kind, projection, names[2], device, runtime, fetch, seed)
    asked = Query(
        _as_tuple(query),
        (text,) if isinstance(text, str) and text else tuple(text),
        (class_name,) if class_name else (),
        tuple(like),
        tuple(unlike),
        unlike_weight,
    )
    if isinstance(source, Index):
        searcher = _hold_index(source, options)
    else:
        searcher = open_searcher(source, options, _read_source, queries=[asked])
    return searcher.ask(asked, count=count, labelled_only=labelled_only, include_self=include_self)


def _as_tuple(query: Any) -> tuple[Any, ...]:
    if query is None:
        return ()
    return tuple(query) if isinstance(query, list | tuple) else (query,)


def _hold_index(index: Index, options: SearchOptions) -> Searcher:
    from ilk.encoders import resolve_encoder, restore_encoder

    encoder: Embeds | None = None
    if options.encoder:
        encoder = resolve_encoder(options.encoder, **options.settings)
    elif index.encoder:
        encoder = restore_encoder(index.encoder, fetch=options.fetch, **options.settings)
    notes = [] if encoder is None else describe_update(index.space, encoder, "this index")
    return Searcher(index, encoder, notes=notes)


def _read_source(
    source: str, store: Store, ranges: Mapping[str, tuple[float, float]] | None
) -> Images:
    return read_images(source, verify=False, store=store, value_range=ranges or "auto")
