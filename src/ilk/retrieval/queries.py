"""A query as a row of features: images, texts and classes averaged, moved by examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ilk.core.capabilities import Embeds, EmbedsText
from ilk.core.data import Features
from ilk.core.errors import InputError, UnknownName
from ilk.images import ImageError, decode
from ilk.images.inspection.pixel_summary import PixelSummary, summarize_pixels
from ilk.maths.rocchio import move_query
from ilk.retrieval.index import Index
from ilk.retrieval.query import Query, make_refusal, read_queries
from ilk.store import Store


@dataclass(frozen=True, eq=False)
class EncodedQuery:
    """A query as a row, with what its own images are known by.

    Attributes:
        row: Unit row `[1, e]` to be compared with those of the index.
        digests: Digests of the files of its images.
        summaries: Their pixels.
        pictures: Role (asked, like or unlike), name and image of each, for the page.
    """

    row: Features
    digests: tuple[str, ...] = ()
    summaries: tuple[PixelSummary, ...] = ()
    pictures: tuple[tuple[str, str, Any], ...] = ()


def encode_query(
    query: Query, index: Index, encoder: Embeds | None, store: Store | None = None
) -> EncodedQuery:
    """Return the row of a query.

    Args:
        query: What is asked.
        index: What it is asked.
        encoder: Encoder of the images and texts; None if the query has neither.
        store: Store that may hold features of the images; nothing is added to it.

    Raises:
        InputError: Nothing is asked, a file is not an image, the encoder reads no text, or what is
            liked and disliked cancels out.
        UnknownName: The index has no such class.
    """
    plain, liked, disliked = query.images, query.like, query.unlike
    query.check()
    if encoder is None and query.needs_encoder:
        raise InputError("a query of images or text needs the encoder of the index")
    if encoder is not None:
        query.check_encoder(encoder)
    known = list(_encode_each([*plain, *liked, *disliked], index, encoder, store))
    rows = np.zeros((0, _count_axes(index)), np.float32)
    if known:
        rows = index.project(np.stack([one.features for one in known]))
    texts = _embed_texts(query.texts, index, encoder)
    means = [_find_class_mean(index, name) for name in query.classes]
    asked = np.concatenate([rows[: len(plain)], texts, *means])
    more = rows[len(plain) : len(plain) + len(liked)]
    less = rows[len(plain) + len(liked) :]
    row = move_query(asked, more, less, query.unlike_weight)
    if not np.linalg.norm(row) > 0:
        raise InputError("the images to resemble and not to resemble cancel out; give other images")
    roles = ["asked"] * len(plain) + ["like"] * len(liked) + ["unlike"] * len(disliked)
    return EncodedQuery(
        row[None],
        tuple(one.digest for one in known),
        tuple(one.summary for one in known[: len(plain) + len(liked)]),
        tuple((role, one.name, one.picture) for role, one in zip(roles, known, strict=True)),
    )


@dataclass(frozen=True, eq=False)
class _EncodedImage:
    name: str
    digest: str
    features: Features
    summary: PixelSummary
    picture: Any


def _encode_each(
    inputs: Sequence[Any], index: Index, encoder: Embeds | None, store: Store | None
) -> list[_EncodedImage]:
    if not inputs or encoder is None:
        return []
    images = read_queries(inputs, index.value_ranges)
    found = []
    for row in images.rows:
        try:
            picture = decode(images.source_of(row), **row.reading)
        except ImageError as error:
            raise make_refusal(row.path, error.reason) from None
        is_known = store is not None and not store.find_missing(encoder.space, [row.digest])
        if store is not None and is_known:
            features = store.get(encoder.space, [row.digest])[0]
        else:
            encoder.load()
            features = encoder.embed(np.stack([encoder.prepare(picture)]))[0]
        summary = summarize_pixels(picture)
        name = str(images.shown_path_of(row))
        found.append(_EncodedImage(name, row.digest, features, summary, picture))
    return found


def _embed_texts(texts: Sequence[str], index: Index, encoder: Any) -> Features:
    """Return the unit rows `[m, e]` of texts."""
    if not texts or not isinstance(encoder, EmbedsText):  # as `Query.check_encoder` has checked
        return np.zeros((0, _count_axes(index)), np.float32)
    return index.project(encoder.embed_text([text.strip() for text in texts]))


def _find_class_mean(index: Index, name: str) -> Features:
    """Return the mean `[1, e]` of the rows of a class.

    Raises:
        UnknownName: There is no such class.
    """
    ids = index.entries.find_class(name)
    if not len(ids):
        classes = index.entries.list_classes()
        if not classes:
            raise InputError(
                f"no image has a label, so that there is no class {name!r}; ask with an image"
            )
        raise UnknownName("class of these images", name, classes)
    return np.asarray(index.take(ids).mean(0, keepdims=True))


def _count_axes(index: Index) -> int:
    return index.space.dim if index.projection is None else index.projection.weight.shape[1]
