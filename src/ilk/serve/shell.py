"""The frame of every page: head, navigation, main part, live region."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from html import escape
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from ilk.serve.state import NavigationItem, ServerState

__all__ = ["NavigationItem", "get_state", "list_static_routes", "render_page", "respond_page"]

MEDIA_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="csrf-token" content="{csrf}">
<title>{title} · ilk</title>
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/style.css">
{styles}<script type="module" src="{script}"></script>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="bar">
<span class="brand" aria-hidden="true">ilk</span>
<nav aria-label="Pages"><ul>
{navigation}</ul></nav>
</header>
<main id="main" tabindex="-1">
{body}
</main>
<p id="status" role="status" aria-live="polite"></p>
<p id="alert" role="alert"></p>
</body>
</html>
"""


def get_state(request: Request) -> ServerState:
    """Return what all requests of the server share."""
    state = request.app.state.server
    assert isinstance(state, ServerState)
    return state


def render_page(
    title: str,
    body: str,
    script: str,
    *,
    state: ServerState,
    path: str = "",
    styles: tuple[str, ...] = (),
) -> str:
    """Return a page as HTML.

    Args:
        title: Its title, as text.
        body: Its main part, as HTML.
        script: Address of its ES module, such as `/static/ask.js`.
        state: The server's state: CSRF token and navigation.
        path: Its own path, which the navigation marks.
        styles: Addresses of further style sheets.
    """
    current = ' aria-current="page"'
    items = "".join(
        f'<li><a href="{escape(item.path)}"{current if item.path == path else ""}>'
        f"{escape(item.name)}</a></li>\n"
        for item in state.navigation
    )
    return PAGE.format(
        title=escape(title),
        body=body,
        script=escape(script),
        csrf=escape(state.csrf_token),
        navigation=items,
        styles="".join(f'<link rel="stylesheet" href="{escape(s)}">\n' for s in styles),
    )


def respond_page(
    request: Request, title: str, body: str, script: str, styles: tuple[str, ...] = ()
) -> HTMLResponse:
    """Return a page as the response to a request; see `render_page`."""
    state, path = get_state(request), request.url.path
    return HTMLResponse(render_page(title, body, script, state=state, path=path, styles=styles))


def list_static_routes(package: str, prefix: str = "/static") -> list[Route]:
    """Return a route for each style sheet, script and picture in a package's folder `static`.

    They are read once, now, so that no request opens a file.

    Args:
        package: The package, such as `ilk.serve`.
        prefix: Path of the routes.
    """
    return [
        Route(f"{prefix}/{entry.name}", _make_static(entry.read_bytes(), entry.name))
        for entry in files(package).joinpath("static").iterdir()
        if entry.name.rpartition(".")[2] in MEDIA_TYPES
    ]


def _make_static(content: bytes, name: str) -> Callable[[Request], Awaitable[Response]]:
    media_type = MEDIA_TYPES[name.rpartition(".")[2]]
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'

    async def send_file(request: Request) -> Response:
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    return send_file
