"""The process that decodes images for a server: `python -m ilk.serve.decoding_worker BYTES`.

It reads images from standard input and writes pixels to standard output. Its memory is bounded by
the operating system, and it can neither write files nor open many; the server ends it when it
takes too long. Whatever an image does to it, the server goes on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any

from PIL import Image

from ilk.images import ImageError, Images
from ilk.images.decoding.pages import mark_first_page
from ilk.images.finish import finish_rows
from ilk.images.inspection.contents import decode_content, inspect_content
from ilk.images.inspection.memory_cache import MemoryCache
from ilk.images.rows.row import Row, row_to_json
from ilk.images.value_ranges.contrast import CONTRAST, find_low_contrast, mark_near_constant
from ilk.images.value_ranges.model_ranges import use_ranges
from ilk.serve.worker_protocol import read_message, write_message

MAX_FILES = 64  # that the process may have open
JPEG_QUALITY = 85  # of thumbnails


def main() -> None:
    """Answer one image after the other until standard input ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get among the pixels
    limit_resources(int(sys.argv[1]))
    while True:
        try:
            head, content = read_message(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer, body = answer_image(head, content)
        except MemoryError:
            answer, body = {"reason": "too large", "detail": "more memory than is allowed"}, b""
        except Exception as error:  # a fault of a library counts as one of the image
            detail = f"{type(error).__name__}: {error}"
            answer, body = {"reason": "unreadable", "detail": detail}, b""
        try:
            write_message(out, answer, body)
        except OSError:  # the server has stopped, and nobody reads it
            os._exit(0)
        del content, body


def limit_resources(n_bytes: int) -> None:
    """Bound the memory of this process, and keep it from writing files."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind, limit in (
        (resource.RLIMIT_AS, n_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, MAX_FILES),
    ):
        hard = resource.getrlimit(kind)[1]
        if hard == resource.RLIM_INFINITY or limit <= hard:
            resource.setrlimit(kind, (limit, limit))


def answer_image(head: Mapping[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return what became of one image, and its pixels or its thumbnail.

    Args:
        head: `ranges`, the value ranges of the model; `pixels`, how many are allowed; `side`, that
            of a thumbnail, or 0 for all pixels.
        content: Bytes of an image file.
    """
    cache = MemoryCache()
    images = _inspect(content)
    ranges = {kind: (float(low), float(high)) for kind, (low, high) in head["ranges"].items()}
    images = use_ranges(images, ranges, cache)
    row = images.rows[0]
    if row.status != "used":
        return {"reason": row.reason, "detail": row.detail, "row": row_to_json(row)}, b""
    try:
        image = decode_content(content, row.digest, head["pixels"], **row.reading)
    except ImageError as error:
        return {"reason": error.reason, "detail": error.detail, "row": row_to_json(row)}, b""
    if head["side"]:
        return {"row": row_to_json(row)}, _encode_thumbnail(image, head["side"])
    row = _note_contrast(images, row, image, cache)
    return {"row": row_to_json(row), "size": image.size}, image.tobytes()


def _inspect(content: bytes) -> Images:
    """Return the row of an image, as `inspect_inputs` does, without starting a thread."""
    row = mark_first_page(inspect_content(content, Row("image")))
    return finish_rows(None, (row,), {0: content}, {}, pages="first")


def _note_contrast(images: Images, row: Row, image: Image.Image, cache: MemoryCache) -> Row:
    cache.put_measurements(CONTRAST, find_low_contrast(row, image))
    return mark_near_constant(replace(images, rows=(row,)), cache).rows[0]


def _encode_thumbnail(image: Image.Image, side: int) -> bytes:
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


if __name__ == "__main__":
    main()
