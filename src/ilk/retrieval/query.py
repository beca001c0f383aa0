"""`Query`: what is searched for, as the user gives it, and whether it is valid."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ilk.artifacts.image_blocks import format_refusal
from ilk.core.capabilities import Embeds, EmbedsText
from ilk.core.errors import InputError
from ilk.images import Images, escape_path, inspect_inputs, iter_inputs
from ilk.images.value_ranges.model_ranges import use_ranges
from ilk.maths.rocchio import GAMMA

NO_QUERY = "there is no query; give an image, a text, or a class with --class"


@dataclass(frozen=True)
class Query:
    """What is searched for, as the user gives it.

    Attributes:
        images: Images to resemble, each whatever `ilk.fit` takes as one image; averaged.
        texts: Texts to resemble, for an encoder that reads text.
        classes: Classes whose mean is to be resembled.
        like: Images that those found should resemble; see `ilk.maths.rocchio`.
        unlike: Images that those found should not resemble.
        unlike_weight: gamma of the formula there, >= 0.
    """

    images: tuple[Any, ...] = ()
    texts: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    like: tuple[Any, ...] = ()
    unlike: tuple[Any, ...] = ()
    unlike_weight: float = GAMMA

    @property
    def needs_encoder(self) -> bool:
        """Whether an image or a text is to be encoded."""
        return bool(self.images or self.texts or self.like or self.unlike)

    def check(self) -> None:
        """Raise InputError if there is no query, or if an image of it cannot be read."""
        if not (self.needs_encoder or self.classes):
            raise InputError(NO_QUERY)
        if not 0 <= self.unlike_weight < math.inf:
            raise InputError(
                f"unlike_weight (--unlike-weight) is {self.unlike_weight}; allowed are finite "
                "numbers from 0"
            )
        if any(not text.strip() for text in self.texts):
            raise InputError("a text is empty; write what to search for")
        read_queries([*self.images, *self.like, *self.unlike])

    def check_encoder(self, encoder: Embeds) -> None:
        """Raise InputError if there is a text and the encoder reads none."""
        if self.texts and not isinstance(encoder, EmbedsText):
            raise InputError(
                f"{encoder.name} reads no text; ask with an image, or use an encoder that reads "
                "text, such as clip/NAME"
            )

    def describe(self) -> str:
        """Return the query in a few words."""
        parts = [*(_name(image) for image in self.images), *(f"“{text}”" for text in self.texts)]
        parts += [f"class {name}" for name in self.classes]
        parts += [f"like {_name(image)}" for image in self.like]
        parts += [f"unlike {_name(image)}" for image in self.unlike]
        return ", ".join(parts)


def read_queries(
    inputs: Sequence[Any], ranges: Mapping[str, tuple[float, float]] | None = None
) -> Images:
    """Return the rows of query images, one per input, in order.

    Args:
        inputs: Images.
        ranges: Black and white of images of more than 8 bits; None reads headers only.

    Raises:
        InputError: One of them is not an image; the message says which and why.
    """
    for one in inputs:
        if isinstance(one, str | os.PathLike) and os.path.isdir(one):
            raise InputError(
                f"the query {escape_path(one)} is a folder; give images, such as one of its files"
            )
    images = inspect_inputs(named for one in inputs for named in iter_inputs([one]))
    if ranges is not None:
        images = use_ranges(images, dict(ranges))
    for row in images.rows:
        if row.status != "used":
            raise make_refusal(row.path, format_refusal(row))
    return images


def make_refusal(name: str, reason: str) -> InputError:
    """Return the error for a query that is not an image, with the reason."""
    return InputError(
        f"the query {escape_path(name)} cannot be read as an image ({reason}); give another"
    )


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
