"""Who may ask: the Host and Origin of a request, its token, and its CSRF token.

A web page of another origin can make a browser send requests to this machine. It cannot read the
answers, because no answer allows other origins to; and what changes something is refused, because
only the pages of this server know the CSRF token. A name that such a page lets point to this
machine (DNS rebinding) is refused by the Host header: IP addresses and this machine's own names are
accepted, and `--allow-host` adds others.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from collections.abc import Mapping
from functools import lru_cache
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ilk.serve.problems import Problem, respond_to_error
from ilk.serve.state import ServerState

CSRF_HEADER = "X-Ilk-CSRF"
COOKIE = "ilk-token"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
READ_ONLY_PATHS = ("/predict", "/explain")  # POST requests that change nothing
OPEN_PATHS = ("/health",)  # need no token
HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^][:/?#@\\\s]+))(?::[0-9]{0,5})?")
BROWSER_HEADERS = ("origin", "sec-fetch-site", "sec-fetch-mode", "cookie", "referer")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}


class Guard:
    """ASGI middleware that refuses requests which may not be answered, and adds headers.

    Args:
        app: The application.
        state: The server's token, CSRF token and host names.
    """

    def __init__(self, app: ASGIApp, state: ServerState) -> None:
        self.app, self.state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request with a problem, or pass it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return

        async def add_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            answer = self._check(scope, Headers(scope=scope))
        except Problem as problem:
            answer = respond_to_error(problem)
        if scope["type"] == "websocket" and answer is not None:
            await send({"type": "websocket.close", "code": 1008})
        elif answer is not None:
            await answer(scope, receive, add_headers)
        else:
            await self.app(scope, receive, add_headers)

    def _check(self, scope: Scope, headers: Headers) -> Response | None:
        """Return None for a request that may be answered, or a redirection.

        Raises:
            Problem: It may not be answered.
        """
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not is_known_host(host, self.state.hosts):
            raise Problem(
                421,
                f"this server does not accept the host name {host[:200]!r}; start it with "
                "--allow-host NAME to add one",
            )
        origin = headers.get("origin")
        if origin is not None and not is_same_origin(origin, host):
            raise Problem(403, f"pages of {origin[:200]!r} may not use this server")
        has_token, by_header = self._find_token(headers)
        if self.state.token and not has_token and scope["path"] not in OPEN_PATHS:
            return self._ask_for_token(scope)
        if scope["type"] == "websocket" or scope["method"] in SAFE_METHODS or by_header:
            return None
        is_open = scope["path"] in READ_ONLY_PATHS and not any(
            n in headers for n in BROWSER_HEADERS
        )
        if not is_open and not is_equal(headers.get(CSRF_HEADER, ""), self.state.csrf_token):
            raise Problem(
                403,
                f"this request needs the header {CSRF_HEADER} of the page, or the token of the "
                "server as `Authorization: Bearer TOKEN`; reload the page if the server was "
                "restarted, or start it with --token TOKEN",
            )
        return None

    def _find_token(self, headers: Headers) -> tuple[bool, bool]:
        """Return whether the request carries the token, and whether in a header of its own."""
        token = self.state.token
        if not token:
            return False, False
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and is_equal(given.strip(), token):
            return True, True
        return is_equal(_read_cookies(headers).get(COOKIE, ""), token), False

    def _ask_for_token(self, scope: Scope) -> Response:
        """Return what a request without token gets; `?token=` of a page's address sets a cookie."""
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        given = query.get("token", [""])[0]
        if (
            scope["type"] == "http"
            and scope["method"] == "GET"
            and is_equal(given, self.state.token)
        ):
            response = RedirectResponse("/" + scope["path"].lstrip("/\\"), status_code=303)
            response.set_cookie(COOKIE, given, httponly=True, samesite="strict", path="/")
            return response
        raise Problem(
            401,
            "this server needs its token, which it printed when it started: open the printed "
            "address, or send `Authorization: Bearer TOKEN`",
            {"WWW-Authenticate": "Bearer"},
        )


def is_equal(given: str, expected: str) -> bool:
    """Compare two secrets in a time that does not tell where they differ."""
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())


def is_known_host(host: str, others: tuple[str, ...] = ()) -> bool:
    """Whether a Host header names this machine: by an IP address, its own name or one of `others`.

    >>> is_known_host("127.0.0.1:8000"), is_known_host("[::1]:8000"), is_known_host("evil.example")
    (True, True, False)
    """
    found = HOST.fullmatch(host.lower())
    if found is None:
        return False
    name = found[1] or found[2]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.rstrip(".") in {"localhost", *(o.lower() for o in others), *_list_own_names()}
    return True


def is_same_origin(origin: str, host: str) -> bool:
    """Whether an Origin header is that of the Host header."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


@lru_cache(maxsize=1)
def _list_own_names() -> frozenset[str]:
    name = socket.gethostname().lower()
    return frozenset({name, f"{name.partition('.')[0]}.local"} - {""})


def _read_cookies(headers: Headers) -> Mapping[str, str]:
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in cookies.items()}
