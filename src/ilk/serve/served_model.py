"""One state of a served model, and what it says of one image of a request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ilk.artifacts.loading import AnyClassifier
from ilk.core.versions import format_now
from ilk.images import Row
from ilk.serve.batching import Answer

if TYPE_CHECKING:
    from ilk.explain.neighbours import NeighbourIndex


@dataclass(frozen=True, eq=False)
class ServedModel:
    """One state of the model; a request keeps the one that it began with.

    Attributes:
        base: The classifier as it is in the folder.
        classifier: The classifier that answers: `base` with the corrections that are not saved.
        digest: Digest of the folder's description.
        loaded: When it was loaded.
        neighbours: Index of training images, or None.
    """

    base: AnyClassifier
    classifier: AnyClassifier
    digest: str
    loaded: str = field(default_factory=format_now)
    neighbours: NeighbourIndex | None = None


@dataclass(frozen=True)
class ImageAnswer:
    """What became of one image of a request.

    Attributes:
        name: What the client calls it.
        row: What is known of the image; None if it could not be decoded.
        answer: What the model says; None if it could not be decoded.
        error: Why it could not be decoded, or "".
        decode_seconds: From its arrival until it was decoded.
    """

    name: str
    row: Row | None
    answer: Answer | None
    error: str
    decode_seconds: float
