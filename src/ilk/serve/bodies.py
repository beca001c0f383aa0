"""The body of a request: images and fields, from multipart, JSON with base64, or one image alone.

Bodies are held in memory, never in files, and their size is bounded: that of one, and that of all
at once.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from ilk.serve.form import Form, NamedImage, check_count, shorten_name
from ilk.serve.json_body import parse_object
from ilk.serve.limits import MEGABYTE, Limits
from ilk.serve.multipart_form import parse_multipart
from ilk.serve.problems import Busy, Problem

DRAIN_SECONDS = 2.0  # for the rest of a body that is too large
WHITESPACE = b" \t\r\n\f\v"  # that base64 may be broken by
ACCEPTED = (
    "send images as multipart/form-data (curl -F image=@photo.jpg), as JSON with base64 "
    '({"image": "..."}), or one image as image/jpeg, image/png, …'
)


class BodyBudget:
    """Bytes of bodies that one server holds at once. For one event loop."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0

    def reserve(self, n_bytes: int) -> None:
        """Hold `n_bytes` more.

        Raises:
            Busy: They do not fit.
        """
        if self.held + n_bytes > self.limit:
            raise Busy("too many uploads at once; try again in a moment")
        self.held += n_bytes


@asynccontextmanager
async def read_form(request: Request, limits: Limits, budget: BodyBudget) -> AsyncIterator[Form]:
    """Read the body of a request, and hold it until the request is answered.

    Raises:
        Problem: It is too large (413), arrives too slowly (408), is of another type (415), or is
            damaged (400).
        Busy: Too many bodies are held.
    """
    async with read_body(request, limits, budget, limits.request_bytes) as body:
        content_type = request.headers.get("content-type", "")
        if len(body) > MEGABYTE:
            form = await asyncio.to_thread(parse_form, body, content_type, limits)
        else:
            form = parse_form(body, content_type, limits)
        del body
        yield form


@asynccontextmanager
async def read_body(
    request: Request, limits: Limits, budget: BodyBudget, most: int
) -> AsyncIterator[bytes]:
    """Read the body of a request, and count it as held until the request is answered.

    Args:
        request: The request.
        limits: Bounds of the server.
        budget: What all bodies may hold.
        most: Bytes that this one may have.

    Raises:
        Problem: It is too large (413), arrives too slowly (408), or ends early (400).
        Busy: Too many bodies are held.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and len(declared) < 19 and int(declared) > most:
        await _drain(request)
        raise _make_too_large(most)
    chunks: list[bytes] = []
    held = 0
    try:
        try:
            async with asyncio.timeout(limits.upload_seconds):
                async for chunk in request.stream():
                    budget.reserve(len(chunk))
                    held += len(chunk)
                    if held > most:
                        await _drain(request)
                        raise _make_too_large(most)
                    chunks.append(chunk)
        except TimeoutError:
            raise Problem(
                408, f"the request did not arrive within {limits.upload_seconds:g} s; send it again"
            ) from None
        except ClientDisconnect:
            raise Problem(400, "the connection ended in the middle of the request") from None
        body = b"".join(chunks)
        chunks.clear()
        yield body
    finally:
        budget.held -= held


async def _drain(request: Request) -> None:
    """Throw the rest of a body away for a while: many clients read nothing before all is sent."""
    with suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in request.stream():
                pass


def _make_too_large(most: int) -> Problem:
    return Problem(
        413,
        f"the request has more than {most // MEGABYTE:,} MB; send less at a time, or smaller "
        "images",
        {"Connection": "close"},
    )


def parse_form(body: bytes, content_type: str, limits: Limits) -> Form:
    """Return the images and fields of a body.

    Raises:
        Problem: It is of another type, damaged, or holds too much.
    """
    kind, options = parse_options_header(content_type)
    media_type = kind.decode("latin-1").lower()
    if media_type == "multipart/form-data":
        form = parse_multipart(body, options.get(b"boundary", b""), limits)
    elif media_type == "application/json":
        form = _parse_json(body, limits)
    elif media_type.startswith("image/") or media_type == "application/octet-stream":
        form = Form((NamedImage("image", body),) if body else (), {})
    else:
        what = f"{media_type[:100]!r} cannot be read" if media_type else "the type is missing"
        raise Problem(415, f"{what}; {ACCEPTED}", {"Accept": "multipart/form-data, image/*"})
    for image in form.images:
        if len(image.content) > limits.image_bytes:
            raise Problem(
                413,
                f"{image.name!r} has {len(image.content) / MEGABYTE:,.0f} MB; "
                f"{limits.image_bytes // MEGABYTE:,} MB are allowed",
            )
    return form


def _parse_json(body: bytes, limits: Limits) -> Form:
    value = parse_object(body, '{"image": "BASE64"}')
    given = [value.pop(name) for name in ("image", "images") if value.get(name) is not None]
    listed = [item for entry in given for item in (entry if isinstance(entry, list) else [entry])]
    if listed:
        check_count(len(listed), limits)
    value.pop("image", None)
    value.pop("images", None)
    return Form(tuple(_parse_item(item, i) for i, item in enumerate(listed)), value)


def _parse_item(item: Any, i: int) -> NamedImage:
    """Return an image of a JSON body: base64 text, a data URL, or an object with name and data."""
    name: Any = f"image {i}"
    if isinstance(item, dict):
        name, item = item.get("name", name), item.get("data")
    if not isinstance(item, str) or not isinstance(name, str):
        raise Problem(
            422,
            f'image {i} must be base64 text, or {{"name": "...", "data": "BASE64"}}',
        )
    if item.startswith("data:"):
        item = item.partition(",")[2]
    try:
        content = base64.b64decode(item.encode("ascii").translate(None, WHITESPACE), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Problem(400, f"image {i} is not valid base64 ({error})") from None
    return NamedImage(shorten_name(name) or f"image {i}", content)
