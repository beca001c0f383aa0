"""Problem details: every error as JSON in one shape (RFC 9457)."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ilk.core.errors import ArtifactError, IlkError, InputError, OutputError, Unavailable

MAX_SHOWN = 200  # characters of a path in a sentence
MEDIA_TYPE = "application/problem+json"
STATUS_OF_ERRORS: tuple[tuple[type[IlkError], int], ...] = (
    (InputError, 422),
    (ArtifactError, 503),
    (Unavailable, 503),
    (OutputError, 507),
)


class Problem(IlkError):
    """An error with the status that a client gets.

    Args:
        status: HTTP status, 4xx or 5xx.
        detail: What is wrong, where, and what to do, in one sentence.
        headers: Further headers, such as `Retry-After`.
        members: Further members of the problem's JSON.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status, self.headers, self.members = status, dict(headers or {}), members


class Busy(Problem):
    """The server has too much to do; 503 with `Retry-After`."""

    def __init__(self, detail: str, seconds: int = 1) -> None:
        super().__init__(503, detail, {"Retry-After": str(seconds)})


def get_status(error: IlkError) -> int:
    """Return the HTTP status of an error of ilk."""
    if isinstance(error, Problem):
        return error.status
    return next((s for kind, s in STATUS_OF_ERRORS if isinstance(error, kind)), 500)


def make_problem(
    status: int, detail: str, headers: Mapping[str, str] | None = None, **members: Any
) -> JSONResponse:
    """Return the response of a problem: type, title, status and detail."""
    content = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **members,
    }
    return JSONResponse(content, status, dict(headers or {}), media_type=MEDIA_TYPE)


def respond_to_error(error: IlkError) -> JSONResponse:
    """Return the response of an error of ilk."""
    if isinstance(error, Problem):
        return make_problem(error.status, str(error), error.headers, **error.members)
    return make_problem(get_status(error), str(error))


def handle_ilk_error(_request: Request, error: Exception) -> Response:
    """Answer a request that ended in an error of ilk."""
    assert isinstance(error, IlkError)
    return respond_to_error(error)


def handle_http_error(request: Request, error: Exception) -> Response:
    """Answer a request for which there is no route, or whose method is not allowed."""
    assert isinstance(error, HTTPException)
    path = shorten_path(request.scope)
    detail = {
        404: f"there is nothing at {path}; GET /openapi.json lists what there is",
        405: f"{request.method} is not allowed at {path}",
    }.get(error.status_code, error.detail)
    return make_problem(error.status_code, detail, error.headers)


def shorten_path(scope: Scope) -> str:
    """Return the beginning of the path of a request, for a sentence."""
    path = str(scope["path"])
    return path if len(path) <= MAX_SHOWN else f"{path[:MAX_SHOWN]}…"


class CatchFaults:
    """ASGI middleware that answers a request which met a fault of the server, and says where."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; an error becomes status 500, its traceback goes to standard error."""
        is_started = False

        async def watch(message: Message) -> None:
            nonlocal is_started
            is_started = is_started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception as error:
            if scope["type"] != "http" or is_started:
                raise
            traceback.print_exc(file=sys.stderr)
            response = make_problem(
                500,
                f"{scope['method']} {shorten_path(scope)} caused an internal error of this server "
                f"({type(error).__name__}); its terminal shows more",
            )
            await response(scope, receive, send)
