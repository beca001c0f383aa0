"""What is asked: images, a text, a class, and images that the answer should resemble or not."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ilk.core.capabilities import Embeds, EmbedsText
from ilk.core.data import Features
from ilk.core.errors import InputError, NoImages, UnknownName
from ilk.images import ImageError, Images, decode, escape_path, read_images
from ilk.images.inspection.pixel_summary import PixelSummary, summarize_pixels
from ilk.maths.rocchio import GAMMA, move_query
from ilk.retrieval.index import Index
from ilk.retrieval.sources import accept_copies
from ilk.store import Store


@dataclass(frozen=True)
class Query:
    """What is asked, as the user gives it.

    Attributes:
        images: Images to resemble, each whatever `ilk.fit` takes as one image; averaged.
        texts: Texts to resemble, for an encoder that reads text.
        classes: Classes whose mean is to be resembled.
        like: Images of which there should be more; see `ilk.maths.rocchio`.
        unlike: Images of which there should be less.
        unlike_weight: gamma of the formula there.
    """

    images: tuple[Any, ...] = ()
    texts: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    like: tuple[Any, ...] = ()
    unlike: tuple[Any, ...] = ()
    unlike_weight: float = GAMMA

    def describe(self) -> str:
        """Return the query in a few words."""
        parts = [*(_name(image) for image in self.images), *(f"“{text}”" for text in self.texts)]
        parts += [f"class {name}" for name in self.classes]
        parts += [f"like {_name(image)}" for image in self.like]
        parts += [f"unlike {_name(image)}" for image in self.unlike]
        return ", ".join(parts)


@dataclass(frozen=True, eq=False)
class EncodedQuery:
    """A query as a row, with what its own images are known by.

    Attributes:
        row: Unit row `[1, e]` to be compared with those of the index.
        digests: Digests of the files of its images.
        summaries: Their pixels.
        pictures: Name and image of each, for the page.
    """

    row: Features
    digests: tuple[str, ...] = ()
    summaries: tuple[PixelSummary, ...] = ()
    pictures: tuple[tuple[str, Any], ...] = ()


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
        InputError: Nothing is asked, a file is no image, the encoder reads no text, or what is
            liked and disliked cancels out.
        UnknownName: The index has no such class.
    """
    plain, liked, disliked = query.images, query.like, query.unlike
    if not (plain or query.texts or query.classes or liked or disliked):
        raise InputError("nothing is asked; give an image, a text, or a class with --class")
    if query.unlike_weight < 0:
        raise InputError("unlike_weight (--unlike-weight) is below 0; allowed are 0 and more")
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
        raise InputError("what is liked and what is not cancel out; give other images")
    return EncodedQuery(
        row[None],
        tuple(one.digest for one in known),
        tuple(one.summary for one in known[: len(plain) + len(liked)]),
        tuple((one.name, one.picture) for one in known),
    )


@dataclass(frozen=True, eq=False)
class _EncodedImage:
    name: str
    digest: str
    features: Features
    summary: PixelSummary
    picture: Any


def read_queries(inputs: Sequence[Any], ranges: Mapping[str, tuple[float, float]]) -> Images:
    """Return the rows of query images, one per input, in order.

    Raises:
        InputError: One of them is no image; the message says which and why.
    """
    try:
        images = accept_copies(
            read_images(list(inputs), verify=False, value_range=dict(ranges) or "auto")
        )
    except NoImages as error:
        if len(inputs) != 1:
            raise
        raise InputError(_explain_refusal(_name(inputs[0]), str(error))) from None
    for row in images.rows:
        if row.status != "used":
            raise InputError(_explain_refusal(row.path, row.reason))
    return images


def _encode_each(
    inputs: Sequence[Any], index: Index, encoder: Embeds | None, store: Store | None
) -> list[_EncodedImage]:
    if not inputs:
        return []
    if encoder is None:
        raise InputError("a query of images needs the encoder of the index")
    for one in inputs:
        if isinstance(one, str | os.PathLike) and os.path.isdir(one):
            raise InputError(
                f"the query {escape_path(one)} is a folder; give images, such as one of its files"
            )
    images = read_queries(inputs, index.value_ranges)
    found = []
    for row in images.rows:
        try:
            picture = decode(images.source_of(row), **row.reading)
        except ImageError as error:
            raise InputError(_explain_refusal(row.path, error.reason)) from None
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


def _embed_texts(texts: Sequence[str], index: Index, encoder: Embeds | None) -> Features:
    """Return the unit rows `[m, e]` of texts."""
    if not texts:
        return np.zeros((0, _count_axes(index)), np.float32)
    if not isinstance(encoder, EmbedsText):
        name = index.space.name if encoder is None else encoder.name
        raise InputError(
            f"{name} reads no text; ask with an image, or use an encoder that reads text, such as "
            "clip/NAME"
        )
    if any(not text.strip() for text in texts):
        raise InputError("a text is empty; write what you look for")
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
    return index.take(ids).mean(0, keepdims=True)


def _count_axes(index: Index) -> int:
    return index.space.dim if index.projection is None else index.projection.weight.shape[1]


def _explain_refusal(name: str, reason: str) -> str:
    return f"the query {escape_path(name)} is no image that can be read: {reason}; give another"


def _name(image: Any) -> str:
    return os.fspath(image) if isinstance(image, str | os.PathLike) else "an image in memory"


def looks_like_text(argument: str) -> bool:
    """Whether a word of the command line is a text rather than the path of an image.

    It is if there is no such file, and it has neither a folder nor a suffix.

    >>> [looks_like_text(word) for word in ("a red car", "cat.jpg", "photos/cat", "Dr. Who")]
    [True, False, False, True]
    """
    if os.path.exists(argument):
        return False
    suffix = os.path.splitext(argument)[1]
    has_suffix = len(suffix) > 1 and " " not in suffix
    return not has_suffix and not any(sign in argument for sign in "/\\*?")
