"""Images to be predicted, in blocks of bounded size: read, encoded, and what refused ones say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO, Any

from PIL import Image

from ilk.core.capabilities import Embeds
from ilk.core.data import Features
from ilk.core.progress import Progress
from ilk.encode import encode_images
from ilk.images import (
    Images,
    Row,
    escape_path,
    inspect_inputs,
    iter_blocks,
    iter_inputs,
)
from ilk.images.decoding.pages import check_pages
from ilk.images.value_ranges.contrast import mark_near_constant
from ilk.images.value_ranges.model_ranges import inspect_again, use_ranges
from ilk.images.value_ranges.value_range import ValueRanges
from ilk.store import Store

BLOCK_SIZE = 2_000  # inputs per block, so that memory does not grow with their number
BLOCK_BYTES = 2**29  # of images in memory, which a generator may have made only for this block

PathLike = str | os.PathLike[str]
OneImage = bytes | Image.Image | IO[bytes]  # for type checkers; a path may be that of a folder
ManyImages = list[Any] | tuple[Any, ...] | Images


def iter_image_blocks(
    inputs: Any, pages: str = "first", size: int | None = None
) -> Iterator[Images]:
    """Yield the images of `inputs` in blocks whose size in memory is bounded; see `predict`.

    A block has at most `size` images, by default `BLOCK_SIZE`.
    """
    size = BLOCK_SIZE if size is None else size
    check_pages(pages)
    if isinstance(inputs, Images) and (pages == "first" or any(row.page for row in inputs.rows)):
        for start in range(0, len(inputs.rows), size):
            yield inspect_again(inputs, inputs.rows[start : start + size])
        return
    for block in iter_blocks(iter_inputs(inputs), size, BLOCK_BYTES):
        yield inspect_inputs(block, pages)


def encode_block(
    images: Images, encoder: Embeds, store: Store, progress: Progress, ranges: ValueRanges
) -> tuple[Images, Features]:
    """Return the images with their final status, and the features `[n, d]` of the used ones.

    The detail of a used row says what there is to know of its image: values out of the `ranges` of
    the model, hardly any contrast.
    """
    images = use_ranges(images, ranges, store, progress)
    images = images.refuse(encode_images(images, [encoder], store, progress=progress))
    images = mark_near_constant(images, store)
    return images, store.get(encoder.space, [row.digest for row in images.used])


def format_unreadable(path: str, reason: str, answer: str) -> str:
    """Return what `predict_proba` says of an image that cannot be read.

    Args:
        path: The image as it was given.
        reason: Why it cannot be read.
        answer: What `predict` would return for a readable image, such as "a name".
    """
    return (
        f"{escape_path(path)} cannot be read ({escape_path(reason)}); leave it out, or use "
        f"predict, which returns the reason instead of {answer}"
    )


def format_refusal(row: Row) -> str:
    """Return the reason why a row was refused, with its detail."""
    return f"{row.reason}: {row.detail}" if row.detail else row.reason
