"""Variants of an encoder, written behind its name: `NAME@resize=squash,views=6`.

- `resize` is how an image of another shape is brought to the input size: `crop`, `squash` or
  `letterbox` (`ilk.core.capabilities.RESIZE_MODES`).
- `views` is the number of flips and crops whose features are averaged (`ilk.encoders.views`).

A revision (`timm/NAME@REVISION`), the settings of a diffusion encoder and a folder with an `@` in
its name are none of these: only `resize=` and `views=` make a variant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from ilk.core.capabilities import (
    RESIZE_MODES,
    Embeds,
    EmbedsText,
    ResizeMode,
    Resizes,
    ScoresClasses,
)
from ilk.core.errors import InputError, UnknownName
from ilk.encoders.views import MAX_VIEWS, TextViewEncoder, ViewEncoder

SETTING = re.compile(r"(resize|views)=([^,@=]*)")


@dataclass(frozen=True)
class Variant:
    """What is written behind the name of an encoder.

    Attributes:
        resize: How images of other shapes are resized; None leaves it to the encoder.
        views: Number of views per image; 1 is the image alone.

    Raises:
        InputError, UnknownName: A value is not supported.
    """

    resize: ResizeMode | None = None
    views: int = 1

    def __post_init__(self) -> None:
        if self.resize is not None and self.resize not in RESIZE_MODES:
            raise UnknownName("way to resize", self.resize, RESIZE_MODES)
        if not 1 <= self.views <= MAX_VIEWS:
            raise InputError(f"views is {self.views}; it must be from 1 to {MAX_VIEWS}")

    def __str__(self) -> str:
        settings = [f"resize={self.resize}"] if self.resize else []
        return ",".join(settings + ([f"views={self.views}"] if self.views > 1 else []))

    def open(self, encoder: Embeds) -> Embeds:
        """Return this variant of a plain encoder.

        Raises:
            InputError: The encoder has a fixed way to read images.
        """
        if self.resize:
            resized = apply_resize(encoder, self.resize)
            if resized is None:
                raise InputError(
                    f"{encoder.name} has a fixed way to read images and takes no "
                    f"resize={self.resize}; leave the setting out, or --resize auto"
                )
            encoder = resized
        if self.views == 1:
            return encoder
        if isinstance(encoder, ScoresClasses):
            raise InputError(
                f"{encoder.name} is a classifier, and its scores are not averaged over views; "
                "leave views out"
            )
        make = TextViewEncoder if isinstance(encoder, EmbedsText) else ViewEncoder
        return make(encoder, self.views)


def apply_resize(encoder: Embeds, mode: ResizeMode) -> Embeds | None:
    """Return an encoder with images resized in another way; None if it has a fixed way."""
    if isinstance(encoder, ViewEncoder):
        base = apply_resize(encoder.base, mode)
        return Variant(views=encoder.n_views).open(base) if base else None
    return encoder.with_resize(mode) if isinstance(encoder, Resizes) else None


def split_variant(name: str) -> tuple[str, Variant]:
    """Split the name of an encoder into that of the plain one and its variant.

    Raises:
        InputError, UnknownName: A value is not supported.
    """
    plain, _, settings = name.rpartition("@")
    matches = [SETTING.fullmatch(part) for part in settings.split(",")]
    if not plain or not all(matches):
        return name, Variant()
    values = {match[1]: match[2] for match in matches if match}
    views = parse_views(values.get("views", "1"))
    return plain, Variant(cast("ResizeMode | None", values.get("resize")), views)


def check_variants(resize: str, views: int | str) -> None:
    """Check values of `--resize` and `--views`, which may be `auto`.

    Raises:
        InputError, UnknownName: A value is not supported.
    """
    if resize not in ("auto", *RESIZE_MODES):
        raise UnknownName("way to resize", resize, ("auto", *RESIZE_MODES))
    if views != "auto":
        Variant(views=parse_views(str(views)))


def parse_views(text: str) -> int:
    """Return the number of views.

    Raises:
        InputError: It is not a whole number.
    """
    if not text.isascii() or not text.isdecimal() or len(text) > 3:
        raise InputError(
            f"views is {text!r}; it must be a whole number from 1 to {MAX_VIEWS}, such as 6"
        )
    return int(text)
