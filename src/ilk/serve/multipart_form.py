"""A multipart form as images and fields, parsed in memory."""

from __future__ import annotations

from typing import Any, cast

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ilk.serve.form import Form, NamedImage, check_count, shorten_name
from ilk.serve.limits import Limits
from ilk.serve.problems import Problem

MAX_FIELDS = 32  # of a form, besides its images
MAX_FIELD_BYTES = 10_000
MAX_PART_HEADER_BYTES = 10_000
IMAGE_FIELDS = ("image", "images", "file", "files")


class _Parts:
    """Collects the parts of a multipart body."""

    def __init__(self, body: bytes, limits: Limits) -> None:
        self.limits = limits
        self.images: list[NamedImage] = []
        self.fields: dict[str, Any] = {}
        self.is_complete = False
        self._start_part()

    def _start_part(self) -> None:
        self._header = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._chunks: list[bytes] = []

    def get_callbacks(self) -> dict[str, Any]:
        """Return what the parser calls."""
        return {
            "on_part_begin": self._start_part,
            "on_header_field": self._add_header,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_part_data": lambda data, start, end: self._chunks.append(data[start:end]),
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        if len(self._value) + len(self._header) > MAX_PART_HEADER_BYTES:
            raise Problem(400, "a part of the form has headers that are too long")

    def _end_header(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header = self._value = b""

    def _end(self) -> None:
        self.is_complete = True

    def _end_part(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        file_name = options.get(b"filename")
        content = b"".join(self._chunks)
        self._chunks = []
        if file_name is not None or name in IMAGE_FIELDS:
            text = (file_name or b"").decode("utf-8", "replace")
            self.images.append(
                NamedImage(shorten_name(text) or f"image {len(self.images)}", content)
            )
            check_count(len(self.images), self.limits)
            return
        if len(content) > MAX_FIELD_BYTES or len(self.fields) >= MAX_FIELDS:
            raise Problem(413, f"the field {name[:100]!r} is too long, or one too many")
        self.fields[name] = content.decode("utf-8", "replace")


def parse_multipart(body: bytes, boundary: bytes, limits: Limits) -> Form:
    """Return the images and fields of a multipart body.

    Raises:
        Problem: It is damaged, or holds too much.
    """
    if not boundary:
        raise Problem(400, "the form has no boundary in its Content-Type; let the client set it")
    parts = _Parts(body, limits)
    try:
        parser = MultipartParser(boundary, cast(Any, parts.get_callbacks()))
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise Problem(400, f"the form is damaged ({error}); send it again") from None
    if not parts.is_complete:
        raise Problem(400, "the form ends in the middle of a part; send it again")
    return Form(tuple(parts.images), parts.fields)
