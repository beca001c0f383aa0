"""What a request holds: its images, and its other fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ilk.serve.limits import Limits
from ilk.serve.problems import Problem

MAX_NAME_LENGTH = 200  # characters of the name of an image
FIELD_HINT = "call the part `image`, as in: curl -F image=@photo.jpg"


@dataclass(frozen=True)
class NamedImage:
    """An image of a request.

    Attributes:
        name: What the client calls it; shown, never opened.
        content: Bytes of the file.
    """

    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class Form:
    """What a request holds.

    Attributes:
        images: Its images, in order.
        fields: Its other fields, as text or, in JSON, as plain values.
    """

    images: tuple[NamedImage, ...]
    fields: dict[str, Any]

    def get_text(self, name: str, default: str = "") -> str:
        """Return a field as text.

        Raises:
            Problem: It is something else.
        """
        value = self.fields.get(name, default)
        if value is None:
            return default
        if not isinstance(value, str):
            raise Problem(422, f"{name!r} must be text, not {type(value).__name__}")
        return value

    def get_one_image(self) -> NamedImage:
        """Return the image of a request that needs exactly one.

        Raises:
            Problem: There is none, or more than one.
        """
        if len(self.images) != 1:
            raise Problem(
                422, f"this request needs one image and has {len(self.images):,}; {FIELD_HINT}"
            )
        return self.images[0]


def check_count(n_images: int, limits: Limits) -> None:
    """Raise Problem if a request has no image, or too many."""
    if n_images == 0:
        raise Problem(422, f"there is no image in the request; {FIELD_HINT}")
    if n_images > limits.images:
        raise Problem(
            413, f"{n_images:,} images in one request; {limits.images:,} are allowed: send several"
        )


def shorten_name(name: str) -> str:
    """Return the last part of a path that a client sent, as the name of an image."""
    return name.replace("\\", "/").rpartition("/")[2][:MAX_NAME_LENGTH]
