"""The bytes of an image as they were when its source was read."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

from ilk.core.errors import InputError
from ilk.core.regular_file import read_regular_file
from ilk.images.decoding.decode import decode
from ilk.images.rows import Images, Row, escape_path
from ilk.images.rows.refused import ImageError


def read_original(
    images: Images, row: Row, *, changed: str = "run the command again", gone: str = "put it back"
) -> bytes:
    """Return the bytes of an image; pixels in memory, and pages of a file, become a PNG file.

    Args:
        images: The source.
        row: One of its rows.
        changed: What to do where the file has changed, for the message.
        gone: What to do where the file is gone.

    Raises:
        InputError: The file is gone or changed, or cannot be read.
    """
    shown = escape_path(images.shown_path_of(row))
    try:
        source = images.source_of(row)
        if isinstance(source, Path) and not row.page:
            content = read_regular_file(source)
            is_plain = row.value_range is None  # else the digest is not that of the file alone
            if is_plain and hashlib.sha256(content).hexdigest() != row.digest:
                raise InputError(f"{shown} has changed since the folder was read; {changed}")
            return content
        if isinstance(source, bytes) and not row.page:
            return source
        buffer = BytesIO()
        decode(source, **row.reading).save(buffer, "PNG")
        return buffer.getvalue()
    except FileNotFoundError:
        raise InputError(f"{shown} is gone; {gone}") from None
    except OSError as error:
        raise InputError(f"{shown} cannot be read: {error.strerror or error}") from error
    except ImageError as error:
        raise InputError(f"{shown} cannot be read: {error.reason} ({error.detail})") from error
