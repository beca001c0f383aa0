"""Read one image that is to be explained, as `predict` reads it."""

from __future__ import annotations

from typing import Any

from PIL import Image

from ilk.core.errors import InputError
from ilk.images import ImageError, Images, Row, decode, escape_path, inspect_inputs, iter_inputs
from ilk.images.inputs import is_single
from ilk.images.value_ranges.model_ranges import use_ranges
from ilk.images.value_ranges.value_range import ValueRanges


def read_image(source: Any, ranges: ValueRanges) -> Image.Image:
    """Return an image in RGB: a path, bytes, an open file, a Pillow image or a uint8 array.

    Raises:
        InputError: It is several images, or none, or cannot be read.
    """
    if not is_single(source):
        raise InputError(
            "explain takes one image; for a folder or a list, call it for each, or use ilk explain"
        )
    [(name, content)] = iter_inputs(source)
    images = use_ranges(inspect_inputs([(name, content)]), ranges)
    [row] = images.rows
    return decode_row(images, row)


def decode_row(images: Images, row: Row) -> Image.Image:
    """Return the image of a row in RGB.

    Raises:
        InputError: The row is refused, or its file cannot be decoded; the message says why.
    """
    path = escape_path(row.path)
    if row.status != "used":
        why = f"{row.reason}: {row.detail}" if row.detail else row.reason
        raise InputError(f"{path} cannot be explained, because it cannot be read ({why})")
    try:
        return decode(images.source_of(row), **row.reading)
    except ImageError as error:
        why = f"{error.reason}: {error.detail}" if error.detail else error.reason
        raise InputError(f"{path} cannot be explained, because it cannot be read ({why})") from None
