"""Open what is searched with the encoder that the options, a model or a saved index name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ilk.core.capabilities import Embeds, EmbedsText
from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.images import Images, escape_path
from ilk.retrieval.image_source import collect_images
from ilk.retrieval.index import Index
from ilk.retrieval.index_folder import is_index
from ilk.retrieval.load_index import open_index
from ilk.retrieval.options import ReadImages, SearchOptions
from ilk.retrieval.query import Query
from ilk.retrieval.sources import OpenSource, collect_shards
from ilk.retrieval.spaces import check_space
from ilk.store import Store

if TYPE_CHECKING:
    from ilk.artifacts.loading import AnyClassifier


def refuse_encoder(options: SearchOptions, reason: str) -> None:
    """Raise InputError if an encoder or a model is named."""
    if options.encoder or options.model:
        raise InputError(f"encoder (--encoder) and model (--model) cannot be given: {reason}")


def open_shards(
    source: str | os.PathLike[str], options: SearchOptions, queries: Sequence[Query] = ()
) -> OpenSource:
    """Return the images of a folder of shards, and the encoder of the queries.

    Raises:
        InputError: The features are of another encoder than the one on this machine.
    """
    from ilk.encoders import resolve_encoder
    from ilk.shards.spaces import find_space

    classifier = load_model(options)
    if classifier is not None:
        encoder: Embeds = classifier.encoder
        collection = collect_shards(source, encoder.space.key)
    else:
        resolve = partial(resolve_encoder, **options.settings)
        name = options.encoder
        space = find_space(Path(source), name, resolve).key if name else None
        collection = collect_shards(source, space)
        encoder = resolve_encoder(name or collection.space.name, **options.settings)
    check_space(collection.space, encoder, escape_path(source))
    for query in queries:
        query.check_encoder(encoder)
    reads_text = isinstance(encoder, EmbedsText)
    collection = replace(collection, encoder=encoder.describe(), reads_text=reads_text)
    return OpenSource(collection, encoder, classifier=classifier)


def open_images(
    source: str,
    options: SearchOptions,
    read: ReadImages,
    store: Store,
    queries: Sequence[Query] = (),
    progress: Progress = silent_progress,
) -> OpenSource:
    """Return the images of a folder, table or archive, encoded through the store.

    Those that a saved index holds are not encoded: it has their features.

    Raises:
        InputError: The encoder reads no text and is asked one, or is not that of the saved index.
        NoImages: No image can be decoded.
    """
    classifier = load_model(options)
    saved = open_index(options.index) if options.index and is_index(options.index) else None
    ranges = None if classifier is None else classifier.value_ranges
    if saved is not None and classifier is None:
        ranges = dict(saved.value_ranges) or None
    images = read(source, store, ranges)
    encoder = _resolve(options, images, saved) if classifier is None else classifier.encoder
    if saved is not None:
        check_space(saved.space, encoder, f"the index {escape_path(options.index)}")
    for query in queries:
        query.check_encoder(encoder)
    root = os.path.abspath(source)
    opened = collect_images(
        images,
        encoder,
        store,
        source=root,
        is_saved=bool(options.index),
        known=frozenset() if saved is None else saved.entries.list_digests(),
        progress=progress,
    )
    return replace(opened, classifier=classifier)


def load_model(options: SearchOptions) -> AnyClassifier | None:
    """Return the classifier whose encoder is used, None if no model is named.

    Raises:
        InputError: An encoder is named as well.
    """
    if not options.model:
        return None
    if options.encoder:
        raise InputError("both an encoder (--encoder) and a model (--model) are named; name one")
    from ilk.artifacts.loading import load

    return load(options.model, fetch=options.fetch, **options.settings)


def _resolve(options: SearchOptions, images: Images, saved: Index | None) -> Embeds:
    """Return the named encoder, that of the saved index, or the best default encoder."""
    from ilk.encoders import choose_encoders, resolve_encoder, restore_encoder

    if not options.encoder and saved is not None:
        return restore_encoder(saved.encoder, fetch=options.fetch, **options.settings)
    if options.encoder not in ("", "default"):
        return resolve_encoder(options.encoder, images=images, **options.settings)
    encoders, _ = choose_encoders(images, **options.settings)
    return encoders[-1]  # the cheapest come first
